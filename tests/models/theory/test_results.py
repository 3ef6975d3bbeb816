import pytest

from models.errors import InputError
from models.theory.results import Results

_KEYS, _VALUES = ("name", "size"), ("risk",)


def _open(tmp_path):
    return Results(str(tmp_path / "x.csv"), _KEYS, _VALUES)


def test_what_was_added_is_there_again(tmp_path):
    _open(tmp_path).add({"name": "a, b", "size": 3, "risk": 0.123456789})
    results = _open(tmp_path)
    assert results.rows == [{"name": "a, b", "size": "3", "risk": "0.12346"}]
    assert results.has({"name": "a, b", "size": 3})
    assert not results.has({"name": "a, b", "size": 4})


def test_floats_among_the_keys_are_found_again(tmp_path):
    _open(tmp_path).add({"name": "a", "size": 2.0, "risk": 1.0})
    assert _open(tmp_path).has({"name": "a", "size": 2.0})


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path):
    results = _open(tmp_path)
    results.add({"name": "a", "size": 1, "risk": 0.5})
    results.add({"name": "b", "size": 2, "risk": 0.25})
    path = tmp_path / "x.csv"
    path.write_text(path.read_text()[:-2])  # The last one's risk now reads .2.
    results = _open(tmp_path)
    assert [row["name"] for row in results.rows] == ["a"]
    results.add({"name": "b", "size": 2, "risk": 0.25})
    assert path.read_text() == "name,size,risk\na,1,0.5\nb,2,0.25\n"


def test_rows_of_other_columns_are_left_alone(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("name,risk\na,1\n")
    with pytest.raises(InputError, match="columns name,size,risk .* got name,risk"):
        _open(tmp_path)
    assert path.read_text() == "name,risk\na,1\n"
