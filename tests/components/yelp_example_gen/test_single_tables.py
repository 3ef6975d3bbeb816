import gzip
import json

import pytest

from components.yelp_example_gen import single_tables, tables
from models.errors import InputError


def _business(name, **fields):
    return json.dumps({"business_id": name, "name": name.title(), "city": "Reno", **fields})


def _read(path, fraction=0.5, table=tables.BUSINESSES):
    return single_tables.read_table(table, str(path), fraction)


def test_rows_are_sorted_and_of_an_id_the_last_counts(tmp_path):
    lines = [_business("tea"), "not json", _business("bar"), "", _business("tea", city="Elko")]
    path = tmp_path / "business.json"
    path.write_text("\n".join(lines))
    found = _read(path)
    assert found.rows["business_id"].to_pylist() == ["bar", "tea"]
    assert found.rows["city"].to_pylist() == ["Reno", "Elko"]
    assert (found.num_lines, found.num_repeated) == (4, 1)
    (reject,) = found.rejects
    assert reject.reason == "not JSON"
    assert reject.byte_offset == len(lines[0]) + 1


def test_patterns_and_gzip(tmp_path):
    for number, name in enumerate(("bar", "tea")):
        with gzip.open(tmp_path / f"business{number}.json.gz", "wt") as file:
            file.write(_business(name))
    assert _read(tmp_path / "business*.gz").rows["business_id"].to_pylist() == ["bar", "tea"]


def test_numbers_in_names_count_as_numbers(tmp_path):
    for name, city in (("business-2.json", "Reno"), ("business-10.json", "Elko")):
        (tmp_path / name).write_text(_business("tea", city=city))
    assert _read(tmp_path / "business-*.json").rows["city"].to_pylist() == ["Elko"]


def test_a_file_whose_name_looks_like_a_pattern(tmp_path):
    folder = tmp_path / "day[1]"
    folder.mkdir()
    (folder / "business.json").write_text(_business("tea"))
    assert _read(folder / "business.json").rows["business_id"].to_pylist() == ["tea"]


def test_users(tmp_path):
    path = tmp_path / "user.json"
    user = {"user_id": "u", "name": "U", "yelping_since": "2010-01-01 00:00:00", "fans": 7}
    path.write_text(json.dumps({**user, "friends": "None", "elite": ""}))
    rows = _read(path, table=tables.USERS).rows
    assert rows["user_id"].to_pylist() == ["u"]
    assert rows["fans"].to_pylist() == [7]


def test_more_rejects_than_allowed_are_refused_with_an_example(tmp_path):
    path = tmp_path / "business.json"
    path.write_text("\n".join([_business("tea"), "[1]", "[2]"]))
    with pytest.raises(InputError, match=r"at most 50\.00% .* 2 of 3 are. The first: not a JSON"):
        _read(path)
    assert len(_read(path, 0.7).rejects) == 2


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_a_file_without_rows_is_refused(tmp_path, content):
    path = tmp_path / "business.json"
    path.write_text(content)
    with pytest.raises(InputError, match="Expected lines of businesses in"):
        _read(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="got no such file. Correct the path."):
        _read(tmp_path / "nothing.json")
