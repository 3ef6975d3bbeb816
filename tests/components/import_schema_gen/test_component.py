import pathlib

from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner

from components.import_schema_gen.component import ImportSchemaGen
from schemas.loader import schema_path


def test_an_edited_schema_is_imported_anew(tmp_path):
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "mlmd.sqlite"))
    for digest in ("1", "2", "2"):
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                "test",
                pipeline_root=str(tmp_path / "root"),
                components=[ImportSchemaGen("users", digest)],
                enable_cache=True,
                metadata_connection_config=connection,
            )
        )
    with metadata.Metadata(connection) as store:
        imported = store.store.get_artifacts_by_type("Schema")
    # The third run took what the second had made.
    assert len(imported) == 2
    expected = pathlib.Path(schema_path("users")).read_text()
    for artifact in imported:
        assert (pathlib.Path(artifact.uri) / "schema.pbtxt").read_text() == expected


def test_no_path_of_this_machine_is_a_parameter():
    component = ImportSchemaGen("users", "digest")
    assert component.exec_properties == {"table": "users", "code_digest": "digest"}
