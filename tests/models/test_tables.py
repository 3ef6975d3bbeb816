import gzip

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from models import tables
from models.errors import InputError
from models.tables import Bag, IdIndex, Interactions


def _feature(value):
    if isinstance(value[0], bytes) if value else False:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
    if value and isinstance(value[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=value))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))


def _write(path, *rows):
    options = "GZIP" if path.suffix == ".gz" else None
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for row in rows:
            example = tf.train.Example()
            for key, value in row.items():
                example.features.feature[key].CopyFrom(_feature(value))
            writer.write(example.SerializeToString())
    return str(path)


def _lists(bag):
    return [bag.row(row).tolist() for row in range(bag.num_rows)]


class TestBag:
    def test_pairs_are_grouped_in_their_order(self):
        bag = Bag.from_pairs(np.array([2, 0, 2, 2]), np.array([7, 5, 9, 8]), 4)
        assert _lists(bag) == [[5], [], [7, 9, 8], []]
        assert bag.row_splits.tolist() == [0, 1, 1, 4, 4]
        assert bag.lengths().tolist() == [1, 0, 3, 0]

    @given(
        st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1, max_size=6),
        st.lists(st.integers(0, 5), max_size=8),
    )
    def test_take_equals_indexing_a_list_of_lists(self, lists, rows):
        rows = [row % len(lists) for row in rows]
        owners = np.repeat(np.arange(len(lists)), [len(values) for values in lists])
        values = np.array([value for values in lists for value in values], np.int32)
        taken = Bag.from_pairs(owners, values, len(lists)).take(np.array(rows, np.int64))
        assert _lists(taken) == [lists[row] for row in rows]

    def test_bag_without_rows_or_values(self):
        bag = Bag.from_pairs(np.zeros(0, int), np.zeros(0, int), 0)
        assert bag.num_rows == 0
        assert _lists(Bag.from_pairs(np.zeros(0, int), np.zeros(0, int), 2)) == [[], []]


class TestInteractions:
    def setup_method(self):
        self.ratings = Interactions(
            np.array([1, 0, 1], np.int32), np.array([2, 2, 0], np.int32), np.array([5, 3, 1], "f4")
        )

    @pytest.mark.parametrize("index", [slice(1, 3), np.array([False, True, True]), [1, 2]])
    def test_slices_masks_and_rows_select(self, index):
        part = self.ratings[index]
        assert len(part) == 2
        assert part.user_rows.tolist() == [0, 1]
        assert part.business_rows.tolist() == [2, 0]
        assert part.stars.tolist() == [3.0, 1.0]

    def test_sum_is_one_after_the_other(self):
        both = self.ratings + self.ratings[:1]
        assert both.user_rows.tolist() == [1, 0, 1, 1]
        assert both.business_rows.tolist() == [2, 2, 0, 2]
        assert both.stars.tolist() == [5.0, 3.0, 1.0, 5.0]

    def test_histories_list_everyone_in_file_order(self):
        assert _lists(self.ratings.histories(3)) == [[2], [2, 0], []]


def test_index_finds_rows_and_marks_unknown_ids():
    index = IdIndex(np.array([b"a", b"bb", b"c"], object))
    rows = index.rows([b"c", b"nobody", b"a", b"c"])
    assert rows.dtype == np.int32
    assert rows.tolist() == [2, -1, 0, 2]
    assert IdIndex(np.array([], object)).rows([b"a"]).tolist() == [-1]


class TestReadColumns:
    spec = {
        "stars": tf.io.FixedLenFeature([], tf.float32),
        "vector": tf.io.FixedLenFeature([2], tf.float32),
        "tokens": tf.io.RaggedFeature(tf.string),
        "positions": tf.io.RaggedFeature(tf.int64),
    }
    rows = (
        {"stars": [4.0], "vector": [1.0, 2.0], "tokens": [b"x", b"y"], "positions": [3]},
        {"stars": [2.0], "vector": [3.0, 4.0]},
        {"stars": [1.0], "vector": [5.0, 6.0], "tokens": [b"z"], "positions": [1, 2]},
    )

    @pytest.mark.parametrize("suffix", ["", ".gz"])
    def test_files_are_read_in_the_order_of_their_names(self, tmp_path, suffix):
        second = _write(tmp_path / f"b{suffix}", self.rows[2])
        first = _write(tmp_path / f"a{suffix}", *self.rows[:2])
        if suffix:
            with gzip.open(first) as file:
                assert file.read()  # It is gzip indeed.
        columns = tables.read_columns([second, first], self.spec)
        assert columns["stars"].tolist() == [4.0, 2.0, 1.0]
        assert columns["vector"].tolist() == [[1, 2], [3, 4], [5, 6]]
        assert _lists(columns["tokens"]) == [[b"x", b"y"], [], [b"z"]]
        assert _lists(columns["positions"]) == [[3], [], [1, 2]]

    @pytest.mark.parametrize("has_file", [False, True])
    def test_no_rows_give_empty_columns(self, tmp_path, has_file):
        files = [_write(tmp_path / "empty")] if has_file else []
        columns = tables.read_columns(files, self.spec)
        assert columns["stars"].shape == (0,)
        assert columns["vector"].shape == (0, 2)
        assert columns["tokens"].num_rows == columns["positions"].num_rows == 0

    def test_more_rows_than_a_batch(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tables, "_BATCH_ROWS", 2)
        file = _write(tmp_path / "a", *self.rows)
        columns = tables.read_columns([file], self.spec)
        assert columns["stars"].tolist() == [4.0, 2.0, 1.0]
        assert _lists(columns["tokens"]) == [[b"x", b"y"], [], [b"z"]]
        assert _lists(columns["positions"]) == [[3], [], [1, 2]]


def test_ids_are_sorted_across_files(tmp_path):
    files = [
        _write(tmp_path / "a", {"user_id": [b"m"]}, {"user_id": [b"Z"]}),
        _write(tmp_path / "b", {"user_id": [b"-1"]}, {"user_id": ["é".encode()]}),
    ]
    # Order of bytes: "-" < "Z" < "m" < "é".
    assert tables.read_ids(files, "user_id").tolist() == [b"-1", b"Z", b"m", "é".encode()]


class TestReadEntities:
    sizes = {"city": 3, "categories": 5}

    def _row(self, name, number, city, categories):
        return {
            "business_id": [name],
            "numeric": [number, -number],
            "city": [city],
            "categories": categories,
        }

    def test_every_column_follows_the_sorted_ids(self, tmp_path):
        file = _write(
            tmp_path / "a",
            self._row(b"q", 1.0, 2, [4, 0]),
            self._row(b"p", 2.0, 0, []),
            self._row(b"r", 3.0, 1, [3]),
        )
        table = tables.read_entities([file], "business_id", 2, self.sizes, ["categories"])
        assert table.num_rows == 3
        assert table.ids.tolist() == [b"p", b"q", b"r"]
        assert table.numeric.tolist() == [[2, -2], [1, -1], [3, -3]]
        assert table.categorical["city"].tolist() == [0, 2, 1]
        assert _lists(table.bags["categories"]) == [[], [4, 0], [3]]
        assert set(table.categorical) == {"city"}
        assert table.vocabulary_sizes == self.sizes

    def test_an_id_that_occurs_twice_is_named(self, tmp_path):
        file = _write(
            tmp_path / "a", self._row(b"twice", 1.0, 0, [1]), self._row(b"twice", 2.0, 0, [1])
        )
        with pytest.raises(InputError, match="each business_id once .* got 'twice' twice"):
            tables.read_entities([file], "business_id", 2, self.sizes, ["categories"])


def _visits(*pairs):
    users, businesses = np.array(pairs, np.int32).reshape(-1, 2).T
    return tables.Interactions(users, businesses, np.ones(len(pairs), np.float32))


def test_visited_is_each_business_once():
    visited = _visits((1, 5), (0, 2), (1, 3), (1, 5)).visited(3)
    assert [visited.row(user).tolist() for user in range(3)] == [[2], [3, 5], []]


def test_new_visits_are_those_that_were_not_made_before():
    later, earlier = _visits((0, 3), (0, 1), (0, 3), (2, 9)), _visits((0, 1), (1, 3), (2, 0))
    new = tables.new_visits(later, earlier, 3)
    assert [new.row(user).tolist() for user in range(3)] == [[3], [], [9]]
    assert not len(tables.new_visits(later, later, 3).values)
    assert not len(tables.new_visits(_visits(), _visits(), 3).values)


def test_the_mean_of_many_stars_is_exact():
    # Their mean in float32 is off by 2e-5.
    stars = np.tile(np.array([5, 5, 4, 5, 1, 2, 4], np.float32), 3_000_000)
    rows = np.broadcast_to(np.int32(0), len(stars))
    found = tables.Interactions(rows, rows, stars, rows).mean_stars
    assert found == pytest.approx(26 / 7, abs=1e-9)


class TestReadInteractions:
    users = IdIndex(np.array([b"u0", b"u1"], object))
    businesses = IdIndex(np.array([b"b0", b"b1", b"b2"], object))

    def _rating(self, user, business, stars, timestamp_seconds=1_000_000_000):
        return {
            "user_id": [user],
            "business_id": [business],
            "stars": [stars],
            "timestamp_seconds": [timestamp_seconds],
        }

    def test_ids_become_rows(self, tmp_path):
        file = _write(
            tmp_path / "a",
            self._rating(b"u1", b"b2", 4.0),
            self._rating(b"u0", b"b2", 1.0, 1_031_557_600),
        )
        ratings = tables.read_interactions([file], self.users, self.businesses)
        assert ratings.user_rows.tolist() == [1, 0]
        assert ratings.business_rows.tolist() == [2, 2]
        assert ratings.stars.tolist() == [4.0, 1.0]
        assert ratings.timestamps_seconds.tolist() == [1_000_000_000, 1_031_557_600]
        assert ratings.ages_years().tolist() == [1.0, 0.0]
        assert (ratings[:1] + ratings).ages_years().tolist() == [1.0, 1.0, 0.0]

    @pytest.mark.parametrize(
        ("row", "key"), [((b"stray", b"b0"), "user_id"), ((b"u0", b"stray"), "business_id")]
    )
    def test_an_id_without_a_row_is_named(self, tmp_path, row, key):
        file = _write(
            tmp_path / "a", self._rating(b"u0", b"b0", 3.0), self._rating(row[0], row[1], 3.0)
        )
        with pytest.raises(InputError, match=f"every {key} of .* got 'stray', which"):
            tables.read_interactions([file], self.users, self.businesses)
