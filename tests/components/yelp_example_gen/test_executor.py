import gzip
import json
import logging
import pathlib

import apache_beam as beam
import pytest
from apache_beam.testing import util
from tfx.components.util import examples_utils, tfxio_utils
from tfx.orchestration import metadata, pipeline
from tfx.orchestration.local import local_dag_runner
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from components import artifacts
from components.yelp_example_gen import component, executor
from models import errors

PREFIX = "yelp_academic_dataset_"


@pytest.fixture
def outputs(tmp_path):
    """Output artifacts the way TFX hands them over."""
    kinds = {
        "interactions": standard_artifacts.Examples,
        "users": standard_artifacts.Examples,
        "businesses": standard_artifacts.Examples,
        "rejects": artifacts.Rejects,
    }
    made = {}
    for key, kind in kinds.items():
        made[key] = [kind()]
        made[key][0].uri = str(tmp_path / "out" / key)
    return made


def do(
    outputs,
    data,
    method="temporal",
    max_reject_fraction=0.01,
    repeated_visits="latest",
    num_review_terms=0,
):
    executor.Executor().Do(
        {},
        outputs,
        {
            "data": str(data),
            "split_config": json.dumps({"method": method}),
            "repeated_visits": repeated_visits,
            "max_reject_fraction": max_reject_fraction,
            "num_review_terms": num_review_terms,
            "input_fingerprint": "",
            "code_digest": "",
        },
    )


def files_below(tmp_path):
    root = tmp_path / "out"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_outputs(tmp_path, yelp, outputs):
    reviews = [yelp.review(i) for i in range(120)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", [*reviews, b"{", {}])
    yelp.write(tmp_path / "in" / f"{PREFIX}user.json.gz", [yelp.user(i) for i in range(3)])
    stale = tmp_path / "out/interactions/Split-train/data_tfrecord-00009"
    stale.parent.mkdir(parents=True)
    stale.write_text("left by a run that was killed")
    do(outputs, tmp_path / "in", max_reject_fraction=0.02)
    assert files_below(tmp_path) == [
        "businesses/Split-all/data_tfrecord-00000",
        "interactions/Split-eval/data_tfrecord-00000",
        "interactions/Split-test/data_tfrecord-00000",
        "interactions/Split-train/data_tfrecord-00000",
        "rejects/rejects-00000-0000000000000-0000000000000.jsonl",
        "rejects/summary.json",
        "users/Split-all/data_tfrecord-00000",
    ]
    assert not (tmp_path / "out/interactions/staging").exists()
    assert outputs["interactions"][0].splits == ["train", "eval", "test"]
    assert outputs["users"][0].splits == outputs["businesses"][0].splits == ["all"]
    for key in ("interactions", "users", "businesses"):
        payload_format = examples_utils.get_payload_format(outputs[key][0])
        assert payload_format == example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE
    results = json.loads((tmp_path / "out/rejects/summary.json").read_text())
    assert (results["num_users"], results["unknown_users"]) == (7, 4)
    assert (results["num_businesses"], results["unknown_businesses"]) == (11, 11)
    assert results["tables"]["interactions"]["rejected"] == {
        "not JSON": 1,
        "review_id: missing": 1,
    }
    assert sum(results["split"]["num_interactions"].values()) == results["num_interactions"]


@pytest.mark.parametrize(("repeated_visits", "kept"), [("latest", 60), ("all", 120)])
def test_repeated_visits(tmp_path, yelp, outputs, repeated_visits, kept):
    first = [yelp.review(i, user_id=f"user-{i}") for i in range(60)]
    again = [{**review, "review_id": f"again-{i}"} for i, review in enumerate(first)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", first + again)
    do(outputs, tmp_path / "in", repeated_visits=repeated_visits)
    results = json.loads((tmp_path / "out/rejects/summary.json").read_text())
    assert results["num_interactions"] == kept
    assert results["duplicates"]["superseded_reviews"] == 120 - kept


def test_a_negative_number_of_terms_is_refused(tmp_path, outputs):
    with pytest.raises(errors.ConfigError) as caught:
        do(outputs, tmp_path, num_review_terms=-1)
    assert str(caught.value) == (
        "Expected num_review_terms to be how many words of its reviews a business gets at most, "
        "such as 30, or 0 for none; got -1. Correct it."
    )


def refuse(outputs, *arguments, **options):
    with pytest.raises(errors.InputError) as caught:
        do(outputs, *arguments, **options)
    return str(caught.value)


def test_too_many_rejects_leave_the_rejects_alone(tmp_path, yelp, outputs):
    reviews = [yelp.review(i) for i in range(120)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", [*reviews, b"{", {}])
    assert refuse(outputs, tmp_path / "in") == (
        "Expected at most 1.00% of the lines of interactions to be unusable; 2 of 122 are "
        "(not JSON 1, review_id: missing 1). For example, at byte "
        f"{sum(len(json.dumps(review)) + 1 for review in reviews)} of {PREFIX}review.json "
        "(not JSON): '{'. Mend the file, or raise max_reject_fraction."
    )
    assert files_below(tmp_path) == [
        "rejects/rejects-00000-0000000000000-0000000000000.jsonl",
        "rejects/summary.json",
    ]
    assert not (tmp_path / "out/interactions/staging").exists()


def test_shares_far_from_what_was_asked_are_told(tmp_path, yelp, outputs, caplog):
    # Nearly all on the last day, which is test's, as a day goes wholly to one split.
    days = [*range(1, 21), *[25] * 100]
    reviews = [{**yelp.review(i), "date": f"2019-01-{day:02d}"} for i, day in enumerate(days)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", reviews)
    do(outputs, tmp_path / "in", repeated_visits="all")
    told = [record.getMessage() for record in caplog.records if "asked for" in record.getMessage()]
    assert [message.partition(",")[0] for message in told] == [
        "eval has 0.8 % of the interactions",
        "test has 83.3 % of the interactions",
        "train has 15.8 % of the interactions",
    ]
    assert all("split.method=random" in message for message in told)


def test_counts_are_logged(tmp_path, yelp, outputs, caplog):
    reviews = [yelp.review(i) for i in range(120)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", [*reviews, reviews[0], b"{"])
    yelp.write(tmp_path / "in" / f"{PREFIX}user.json", [yelp.user(i) for i in (0, 1, 2, 2)])
    with caplog.at_level(logging.INFO, logger="t2rec"):
        do(outputs, tmp_path / "in")
    messages = [record.getMessage() for record in caplog.records]
    results = json.loads((tmp_path / "out/rejects/summary.json").read_text())
    superseded = results["duplicates"]["superseded_reviews"]
    assert results["duplicates"]["repeated_review_ids"] == 1
    for message in (
        "4 users are known from reviews only",
        "11 businesses are known from reviews only",
        "dropped 1 repeated review ids",
        f"dropped {superseded} superseded reviews",
        "dropped 1 repeated user ids",
        "rejected 1 of 122 lines of interactions",
    ):
        assert messages.count(message) == 1, message


def test_a_compressed_tar_without_reviews(tmp_path, outputs, pack):
    (tmp_path / "yelp.tgz").write_bytes(gzip.compress(pack({"user.json": b"{}", "a.jpg": b"x"})))
    (tmp_path / "none.tgz").write_bytes(gzip.compress(pack({"a.jpg": b"x"})))
    for name in ("yelp.tgz", "none.tgz"):
        assert refuse(outputs, tmp_path / name) == (
            "Expected yelp_academic_dataset_review.json[.gz], or those of each split where "
            f"split.method is given, in {name}; there are no such files in it. "
            "Pass the tar as Yelp ships it."
        )


def test_a_gzip_that_is_no_tar(tmp_path, outputs):
    (tmp_path / "yelp.tgz").write_bytes(gzip.compress(b"x" * 600))
    assert refuse(outputs, tmp_path / "yelp.tgz").startswith(
        "Expected JSON lines in yelp.tgz; there is no usable row in its 1 lines (corrupt tar 1). "
    )


def test_an_empty_split(tmp_path, yelp, outputs):
    reviews = [yelp.review(i, date=f"2015-01-0{1 + i % 2}") for i in range(20)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", reviews)
    assert refuse(outputs, tmp_path / "in").startswith(
        "Expected interactions in every split; split.method temporal left eval and test empty "
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{PREFIX}review.json", f"Expected JSON lines in {PREFIX}review.json; the file is empty."),
        (
            f"{PREFIX}review.json.gz",
            f"Expected JSON lines in {PREFIX}review.json.gz; there is no usable row in its 1 lines "
            "(truncated gzip 1). For example, at byte 0",
        ),
    ],
)
def test_a_file_without_content(tmp_path, outputs, name, message):
    (tmp_path / "in").mkdir()
    # Ten bytes: the header of a gzip file and no more.
    content = b"\x1f\x8b\x08" + bytes(7) if name.endswith(".gz") else b""
    (tmp_path / "in" / name).write_bytes(content)
    assert refuse(outputs, tmp_path / "in").startswith(message)


def test_a_failing_pipeline_leaves_nothing(tmp_path, yelp, outputs, monkeypatch):
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", [yelp.review(i) for i in range(20)])

    def fail(self):
        raise OSError("disk full")

    monkeypatch.setattr(executor.Executor, "_make_beam_pipeline", fail)
    with pytest.raises(OSError, match="disk full"):
        do(outputs, tmp_path / "in")
    assert files_below(tmp_path) == []


def test_local_dag_runner_passes_the_error_on(tmp_path):
    node = component.YelpExampleGen(str(tmp_path / "nowhere"))
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "mlmd.sqlite"))
    with pytest.raises(errors.InputError, match="there is nothing at"):
        local_dag_runner.LocalDagRunner().run(
            pipeline.Pipeline(
                "test",
                pipeline_root=str(tmp_path / "root"),
                components=[node],
                metadata_connection_config=connection,
            )
        )


def test_runs_under_local_dag_runner_and_reads_as_tfxio(tmp_path, yelp):
    reviews = [yelp.review(i) for i in range(120)]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", reviews)
    yelp.write(tmp_path / "span-1" / "user.json", [yelp.user(0)])
    data = json.dumps([str(tmp_path / "in"), str(tmp_path / "span-{SPAN}")])
    node = component.YelpExampleGen(data, '{"method": "random"}')
    connection = metadata.sqlite_metadata_connection_config(str(tmp_path / "mlmd.sqlite"))
    local_dag_runner.LocalDagRunner().run(
        pipeline.Pipeline(
            "test",
            pipeline_root=str(tmp_path / "root"),
            components=[node],
            metadata_connection_config=connection,
        )
    )
    with metadata.Metadata(connection) as store:
        found = store.store.get_artifacts_by_type("Examples")
        (rejects,) = store.store.get_artifacts_by_type(artifacts.Rejects.TYPE_NAME)
    assert (pathlib.Path(rejects.uri) / "summary.json").exists()
    (interactions,) = [artifact for artifact in found if "/interactions/" in artifact.uri]
    examples = standard_artifacts.Examples()
    examples.set_mlmd_artifact(interactions)
    # The way StatisticsGen and Transform read it.
    factory = tfxio_utils.get_tfxio_factory_from_artifact([examples], ["test"])
    results = json.loads((pathlib.Path(rejects.uri) / "summary.json").read_text())
    assert results["inputs"] == [f"{PREFIX}review.json", "user.json"]
    with beam.Pipeline() as p:
        batches = p | factory(f"{examples.uri}/Split-train/*").BeamSource()
        num_rows = batches | beam.Map(lambda batch: batch.num_rows) | beam.CombineGlobally(sum)
        util.assert_that(num_rows, util.equal_to([results["split"]["num_interactions"]["train"]]))
