import pathlib

from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner

from components.import_schema_gen.component import ImportSchemaGen


def test_an_edited_schema_is_imported_anew(tmp_path):
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "mlmd.sqlite"))
    schema_file = tmp_path / "schema.pbtxt"
    for name, digest in (("a", "1"), ("b", "2"), ("b", "2")):
        schema_file.write_text(f'feature {{ name: "{name}" type: INT }}')
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                "test",
                pipeline_root=str(tmp_path / "root"),
                components=[ImportSchemaGen(str(schema_file), digest)],
                enable_cache=True,
                metadata_connection_config=connection,
            )
        )
    with metadata.Metadata(connection) as store:
        imported = store.store.get_artifacts_by_type("Schema")
    # The third run took what the second had made.
    texts = [(pathlib.Path(artifact.uri) / "schema.pbtxt").read_text() for artifact in imported]
    assert texts == ['feature { name: "a" type: INT }', 'feature { name: "b" type: INT }']
