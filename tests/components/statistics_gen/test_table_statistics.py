import pytest
import tensorflow_data_validation as tfdv

from components.statistics_gen import table_statistics
from schemas.loader import load_schema


def user(i: int) -> dict:
    row = {"user_id": [b"user %d" % i], "fans": [i], "friends": [b"a", b"b"][: 1 + i % 2]}
    return row if i % 5 else {"user_id": row["user_id"]}


def by_name(proto) -> dict:
    """Returns the statistics by feature, sums of floats rounded: their order may differ."""
    (dataset,) = proto.datasets
    for feature in dataset.features:
        if feature.HasField("num_stats"):
            feature.num_stats.std_dev = round(feature.num_stats.std_dev, 9)
    return {feature.path.step[0]: feature for feature in dataset.features}


@pytest.fixture
def files(tmp_path, write):
    rows = [user(i) for i in range(10)]
    return [write(tmp_path / "data-0", rows[:7]), write(tmp_path / "data-1", rows[7:])]


@pytest.mark.parametrize("batch_rows", [3, 10])
def test_all_rows_give_what_tfdv_gives(tmp_path, files, batch_rows):
    schema = load_schema("users")
    found = table_statistics.describe(files, schema, max_rows=10, batch_rows=batch_rows)
    expected = tfdv.generate_statistics_from_tfrecord(
        str(tmp_path / "data-*"),
        stats_options=tfdv.StatsOptions(schema=schema, use_sketch_based_topk_uniques=True),
    )
    assert found.proto.datasets[0].num_examples == expected.datasets[0].num_examples == 10
    assert by_name(found.proto) == by_name(expected)
    assert (found.num_rows, found.num_sampled, found.margin) == (10, 10, 0.0)


@pytest.mark.parametrize(
    ("max_rows", "num_sampled", "largest"),
    # Every second, third and tenth row from the first on; rows 0 and 5 have no fans.
    [(9, 5, 8), (4, 4, 9), (1, 1, None)],
)
def test_a_large_split_is_sampled_evenly(files, max_rows, num_sampled, largest):
    found = table_statistics.describe(files, load_schema("users"), max_rows)
    assert (found.num_rows, found.num_sampled) == (10, num_sampled)
    assert found.margin == pytest.approx(num_sampled**-0.5)
    assert found.proto.datasets[0].num_examples == num_sampled
    fans = by_name(found.proto).get("fans")
    assert (fans.num_stats.max if fans else None) == largest


def test_counts_the_rows_of_all_files(files):
    assert table_statistics.count_rows(files) == 10
    assert table_statistics.count_rows(files[1:]) == 3
