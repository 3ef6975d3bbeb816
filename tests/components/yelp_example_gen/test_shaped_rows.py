import json

import pyarrow as pa
import pytest

from components.yelp_example_gen import line_shapes, parsing, records, shaped_rows, tables


def read(table, lines, with_text=False):
    """Reads lines of the shape of the first; None if the table can't be read from them."""
    data = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
    shape = line_shapes.learn_shape(data[: data.index(b"\n")])
    shaped = line_shapes.match_lines(data, line_shapes.locate_lines(data), shape, 10_000)
    return shaped_rows.make_rows(table, data, shaped, with_text)


def expected(table, lines):
    """The rows that `records` makes of the lines."""
    schema = tables.SCHEMAS[table]
    return parsing._to_table(schema, [records.ROW_MAKERS[table](line, []) for line in lines])


REVIEWS = [
    {},
    {"stars": 1},
    {"stars": 4.5, "useful": 0, "cool": 10**15},
    {"date": "1970-01-01 00:00:00"},
    {"date": "2012-02-29 23:59:59"},
    {"date": "2099-12-31 23:59:59"},
    {"user_id": "x", "business_id": "id with spaces é"},
    {"text": ""},
    {"text": 'quotes " and \n lines'},
]
# Each may be good or bad, which is for `records` to say.
DOUBTFUL_REVIEWS = [
    {"stars": 0.9},
    {"stars": 6},
    {"date": "2013-02-29 00:00:00"},
    {"date": "2100-02-29 00:00:00"},
    {"date": "1969-12-31 23:59:59"},
    {"date": "2012-00-10 00:00:00"},
    {"date": "2012-13-10 00:00:00"},
    {"date": "2012-10-00 00:00:00"},
    {"date": "2012-04-31 00:00:00"},
    {"date": "2012-10-10 24:00:00"},
    {"date": "2012-10-10 00:60:00"},
    {"date": "2012-10-10 00:00:60"},
    {"date": "2012-10-10T00:00:00"},
    {"date": "2012-10-1x 00:00:00"},
    {"date": "2012-10-10"},
    {"date": ""},
    {"user_id": ""},
    {"user_id": " "},
    {"user_id": "\u2003"},
    {"user_id": "é"},
    {"business_id": "a\\"},
    {"review_id": 'a"b'},
    {"useful": 1.0},
]


def test_reviews(yelp):
    lines = [yelp.review(i, **changes) for i, changes in enumerate(REVIEWS)]
    rows, numbers = read("interactions", lines)
    assert numbers.tolist() == list(range(len(REVIEWS)))
    assert rows.equals(expected("interactions", lines))
    assert rows.schema == tables.SCHEMAS["interactions"]


@pytest.mark.parametrize("changes", DOUBTFUL_REVIEWS)
def test_doubtful_reviews_are_left_out(yelp, changes):
    lines = [yelp.review(1), yelp.review(2, **changes), yelp.review(3)]
    rows, numbers = read("interactions", lines)
    assert numbers.tolist() == [0, 2]
    assert rows.equals(expected("interactions", [lines[0], lines[2]]))


USERS = [
    {},
    {"friends": "None", "elite": "None"},
    {"friends": "", "elite": ""},
    {"friends": "a", "elite": "2019,20,20"},
    {"friends": "a, b, a, " + "c" * 30},
    {"friends": "a,b"},
    {"fans": 0, "name": "é\\"},
]
DOUBTFUL_USERS = [
    {"friends": "a,  b"},
    {"friends": "a, "},
    {"friends": ", a"},
    {"friends": " "},
    {"friends": "a, é"},
    {"friends": "a, \u2003b"},
    {"elite": "x"},
    {"elite": "2012,"},
    {"yelping_since": "2012-01-01"},
    {"yelping_since": "1960-01-01 00:00:00"},
    {"fans": 1.5},
]


def test_users(yelp):
    lines = [yelp.user(i, **changes) for i, changes in enumerate(USERS[:-1])]
    rows, numbers = read("users", lines)
    assert numbers.tolist() == list(range(len(lines)))
    assert rows.equals(expected("users", lines))


@pytest.mark.parametrize("changes", DOUBTFUL_USERS)
def test_doubtful_users_are_left_out(yelp, changes):
    lines = [yelp.user(1), yelp.user(2, **changes), yelp.user(3)]
    rows, numbers = read("users", lines)
    assert numbers.tolist() == [0, 2]
    assert rows.equals(expected("users", [lines[0], lines[2]]))


def test_optional_fields_that_all_lines_lack(yelp):
    lines = [{"user_id": f"user-{i}", "fans": i} for i in range(3)]
    rows, numbers = read("users", lines)
    assert numbers.tolist() == [0, 1, 2]
    assert rows.equals(expected("users", lines))


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("interactions", {"review_id": "a", "user_id": "b", "business_id": "c", "stars": 1}),
        ("users", {"name": "x"}),
        ("users", {"user_id": 5}),
        ("users", {"user_id": "u", "fans": "5"}),
        ("users", {"user_id": "u", "friends": 5}),
        ("users", {"user_id": "u", "elite": 5}),
        ("users", {"user_id": "u", "yelping_since": 5}),
    ],
)
def test_lines_without_the_fields_of_the_table(table, line):
    assert read(table, [line, line]) is None


def test_no_lines(yelp):
    data = b'{"user_id":"u"}\n'
    shape = line_shapes.learn_shape(b'{"user_id":5}')
    shaped = line_shapes.match_lines(data, line_shapes.locate_lines(data), shape, 100)
    assert shaped.lines.tolist() == []
    shape = line_shapes.learn_shape(b'{"user_id": "u"}')
    shaped = line_shapes.match_lines(data, line_shapes.locate_lines(data), shape, 100)
    rows, numbers = shaped_rows.make_rows("users", data, shaped)
    assert (rows.num_rows, len(numbers)) == (0, 0)
    assert isinstance(rows, pa.Table)


def test_texts_of_reviews_without_their_escapes(yelp):
    lines = [yelp.review(i, **changes) for i, changes in enumerate(REVIEWS)]
    rows, _ = read("interactions", lines, with_text=True)
    assert rows[tables.TEXT].to_pylist() == [line["text"] for line in lines]
    assert rows.schema == tables.staged_schema("interactions", with_text=True)
    for line in lines:
        del line["text"]
    rows, _ = read("interactions", lines, with_text=True)
    assert rows[tables.TEXT].to_pylist() == [None] * len(lines)
    lines = [{**line, "text": 5} for line in lines]
    assert read("interactions", lines, with_text=True) is None
