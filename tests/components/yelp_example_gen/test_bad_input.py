"""Damaged files: each bad line is rejected alone, and no good line is lost with it."""

import calendar
import dataclasses
import datetime
import functools
import gzip
import json
import random
import re
import zlib

import apache_beam as beam
import hypothesis
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from components.yelp_example_gen import inputs, parsing, summary, tables, tallies, transforms
from models.options import SplitOptions

TABLES = tuple(tables.SCHEMAS)
ID_KEYS = {"interactions": "review_id", "users": "user_id", "businesses": "business_id"}
# A field of each table that is read past; damage there is damage all the same.
UNUSED_KEYS = {"interactions": "text", "users": "name", "businesses": "address"}
COUNT_KEYS = {"interactions": "useful", "users": "fans", "businesses": "is_open"}
CONFIG = SplitOptions(method="random")
FILE_NAMES = {
    table: f"yelp_academic_dataset_{kind}.json" for table, kind in tables.FILE_KINDS.items()
}

# Good lines around a bad one, so many that any short cut for lines that are alike pays.
NUM_AROUND = 150

# What becomes of a line, where it is not rejected.
KEPT, BLANK = "kept", "blank"


def raw_fields(table, number):
    """A valid row of Yelp's: each key with the text of its value."""
    row_id = f'"id-{number:019d}"'.encode()
    if table == "interactions":
        return {
            "review_id": row_id,
            "user_id": f'"writer-{number:015d}"'.encode(),
            "business_id": f'"place-{number:016d}"'.encode(),
            "stars": b"4.0",
            "useful": b"1",
            "funny": b"0",
            "cool": b"12",
            "text": b'"Invented."',
            "date": b'"2015-03-04 10:20:30"',
        }
    if table == "users":
        return {
            "user_id": row_id,
            "name": b'"Invented"',
            "review_count": b"3",
            "yelping_since": b'"2010-05-06 07:08:09"',
            "useful": b"5",
            "funny": b"0",
            "cool": b"1",
            "elite": b'"2012,2013"',
            "friends": b'"writer-000000000000001, writer-000000000000002"',
            "fans": b"1",
            "average_stars": b"3.5",
            "compliment_hot": b"2",
            "compliment_photos": b"0",
        }
    return {
        "business_id": row_id,
        "name": b'"Invented"',
        "address": b'"1 Nowhere St"',
        "city": b'"Springfield"',
        "state": b'"ZZ"',
        "postal_code": b'"00000"',
        "latitude": b"12.5",
        "longitude": b"-45.25",
        "stars": b"4.0",
        "review_count": b"12",
        "is_open": b"1",
        "attributes": b"""{"WiFi":"u'no'","BusinessParking":"{'garage': False}"}""",
        "categories": b'"Noodles, Soup"',
        "hours": b'{"Monday":"0:0-0:0","Friday":"17:0-2:30"}',
    }


def join_fields(fields, colon=b":", comma=b","):
    members = (b'"' + key.encode() + b'"' + colon + value for key, value in fields)
    return b"{" + comma.join(members) + b"}"


@dataclasses.dataclass(frozen=True)
class Case:
    """A line, or two, among good ones.

    Attributes:
      name: What is special about it.
      outcomes: What must become of each of its lines: a reason, `KEPT` or `BLANK`.
      values: Raw values in place of the good ones, by key; the keys ID, UNUSED and COUNT stand for
        the table's own, and a value of None leaves the field out.
      edit: Changes the finished line.
      table: The table, or "" for all of them.
      row_id: The id that a kept line must have, or None for the usual one.
    """

    name: str
    outcomes: tuple[str, ...]
    values: tuple[tuple[str, bytes | None], ...] = ()
    edit: object = staticmethod(lambda line: line)
    table: str = ""
    row_id: str | None = None

    def line(self, table, number):
        keys = {"ID": ID_KEYS[table], "UNUSED": UNUSED_KEYS[table], "COUNT": COUNT_KEYS[table]}
        fields = raw_fields(table, number)
        for key, value in self.values:
            fields[keys.get(key, key)] = value
        return self.edit(join_fields(item for item in fields.items() if item[1] is not None))


def bad_value(key, value, reason, table=""):
    return Case(f"{key}={value!r:.60}", (reason,), ((key, value),), table=table)


def good_value(key, value, table="", row_id=None):
    return Case(f"good {key}={value!r:.60}", (KEPT,), ((key, value),), table=table, row_id=row_id)


def edited(name, outcome, edit, table=""):
    outcomes = (outcome,) if isinstance(outcome, str) else outcome
    return Case(name, outcomes, edit=edit, table=table)


def append(member):
    """Adds a member before the closing brace."""
    return lambda line: line[:-1] + b"," + member + b"}"


NOT_JSON, INVALID_UTF8, NUL = "not JSON", "invalid UTF-8", "NUL byte"
TWO_VALUES, NO_OBJECT = "more than one JSON value", "not a JSON object"
DEEP = b"[" * 10_000 + b"]" * 10_000

CASES = [
    # Damaged syntax.
    edited("an open brace alone", NOT_JSON, lambda line: b"{"),
    edited("a word", NOT_JSON, lambda line: b"hello"),
    edited("no closing brace", NOT_JSON, lambda line: line[:-1]),
    edited("no opening brace", TWO_VALUES, lambda line: line[1:]),
    edited("cut in the middle", NOT_JSON, lambda line: line[: len(line) // 2]),
    edited("a trailing comma", NOT_JSON, lambda line: line[:-1] + b",}"),
    edited("a comma after the object", TWO_VALUES, lambda line: line + b","),
    edited("two commas", NOT_JSON, lambda line: line.replace(b",", b",,", 1)),
    edited("no comma", NOT_JSON, lambda line: line.replace(b'","', b'""', 1)),
    edited("no colon", NOT_JSON, lambda line: line.replace(b":", b"", 1)),
    edited("single quotes", NOT_JSON, lambda line: line.replace(b'"', b"'")),
    edited("unquoted key", NOT_JSON, lambda line: line.replace(b'"', b"", 2)),
    edited("a comment", NOT_JSON, lambda line: line.replace(b",", b",/* */", 1)),
    edited("an array", NO_OBJECT, lambda line: b"[" + line + b"]"),
    edited("a string", NO_OBJECT, lambda line: b'"x"'),
    edited("a number", NO_OBJECT, lambda line: b"5"),
    edited("null", NO_OBJECT, lambda line: b"null"),
    edited("two objects", TWO_VALUES, lambda line: line + line),
    edited("two objects and a space", TWO_VALUES, lambda line: line + b" " + line),
    edited("two objects and a return", TWO_VALUES, lambda line: line + b"\r" + line),
    edited(
        "an object over two lines",
        (NOT_JSON, TWO_VALUES),
        lambda line: line.replace(b',"', b'\n"', 1),
    ),
    edited(
        "a newline in a string", (NOT_JSON, NOT_JSON), lambda line: line.replace(b"id-", b"id\n")
    ),
    edited("deep nesting", NOT_JSON, lambda line: DEEP),
    Case("deep nesting in a field", (NOT_JSON,), (("extra", DEEP),)),
    edited("a 2 KB line", NOT_JSON, lambda line: b"{" + b"x" * 2048),
    edited("a character cut at 1 KB", NOT_JSON, lambda line: b"{" + "é".encode() * 600),
    # Damaged bytes.
    edited("NUL bytes only", NUL, lambda line: b"\0" * 50),
    edited("a NUL after the object", NUL, lambda line: line + b"\0"),
    edited("a byte order mark inside the file", NOT_JSON, lambda line: b"\xef\xbb\xbf" + line),
    bad_value("ID", b'"x\0y"', NUL),
    bad_value("UNUSED", b'"x\0y"', NUL),
    bad_value("ID", b'"x\xffy"', INVALID_UTF8),
    bad_value("ID", b'"x\\ny"', "ID: holds a line break"),
    bad_value("ID", b'"x\\ry"', "ID: holds a line break"),
    bad_value("UNUSED", b'"x\xffy"', INVALID_UTF8),
    bad_value("UNUSED", b'"\xc3"', INVALID_UTF8),
    bad_value("UNUSED", b'"\xc0\xaf"', INVALID_UTF8),
    bad_value("UNUSED", b'"\xed\xa0\x80"', INVALID_UTF8),
    bad_value("UNUSED", b'"\xf4\x90\x80\x80"', INVALID_UTF8),
    edited("an invalid byte between fields", INVALID_UTF8, lambda line: line[:-1] + b"\xa0}"),
    bad_value("ID", b'"x\x01y"', NOT_JSON),
    bad_value("UNUSED", b'"x\x01y"', NOT_JSON),
    bad_value("UNUSED", b'"x\ty"', NOT_JSON),
    bad_value("UNUSED", b'"x\ry"', NOT_JSON),
    bad_value("UNUSED", b'"x\x1fy"', NOT_JSON),
    edited("a form feed between fields", NOT_JSON, lambda line: line.replace(b",", b",\f", 1)),
    # Damaged escapes.
    bad_value("ID", b'"\\ud800"', NOT_JSON),
    bad_value("UNUSED", b'"\\ud800"', NOT_JSON),
    bad_value("UNUSED", b'"\\udc00"', NOT_JSON),
    bad_value("UNUSED", b'"\\ud83c x"', NOT_JSON),
    bad_value("UNUSED", b'"\\ud83c\\ud83c"', NOT_JSON),
    bad_value("UNUSED", b'"\\udf5c\\ud83c"', NOT_JSON),
    bad_value("UNUSED", b'"\\x41"', NOT_JSON),
    bad_value("UNUSED", b'"\\u12g4"', NOT_JSON),
    bad_value("UNUSED", b'"\\u12"', NOT_JSON),
    bad_value("UNUSED", b'"\\"', NOT_JSON),
    bad_value("UNUSED", b'"\\\\\\"', NOT_JSON),
    bad_value("UNUSED", b'"a"b"', NOT_JSON),
    # Damaged numbers, of used and unused fields alike.
    *(
        bad_value(key, value, NOT_JSON)
        for key in ("COUNT", "review_count")
        for value in (b"01", b"1.", b".5", b"+1", b"-", b"1e", b"0x1", b"1_0", b"True", b"-01")
    ),
    *(
        bad_value("review_count", value, NOT_JSON)
        for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1" + b"0" * 400)
    ),
    # Required ids.
    bad_value("ID", None, "ID: missing"),
    bad_value("ID", b"null", "ID: null"),
    bad_value("ID", b'""', "ID: empty"),
    bad_value("ID", b'"  "', "ID: empty"),
    bad_value("ID", b'"\\t"', "ID: empty"),
    bad_value("ID", b"5", "ID: not a string"),
    bad_value("ID", b'["x"]', "ID: not a string"),
    bad_value("ID", b'"x\\u0000"', "ID: holds NUL"),
    edited("an empty object", "ID: missing", lambda line: b"{}"),
    *(
        bad_value(key, value, f"{key}: {reason}", "interactions")
        for key in ("user_id", "business_id", "stars", "date")
        for value, reason in ((None, "missing"), (b"null", "null"))
    ),
    bad_value("user_id", b'""', "user_id: empty", "interactions"),
    bad_value("business_id", b'"x\\ud800"', NOT_JSON, "interactions"),
    # Required fields given twice.
    edited(
        "a review id twice",
        "review_id: given twice",
        append(b'"review_id":"x"'),
        "interactions",
    ),
    edited("the same stars twice", "stars: given twice", append(b'"stars":4.0'), "interactions"),
    edited("other stars", "stars: given twice", append(b'"stars" : 1.0'), "interactions"),
    edited(
        "stars twice, once escaped",
        "stars: given twice",
        append(b'"st\\u0061rs":1.0'),
        "interactions",
    ),
    edited("a date twice", "date: given twice", append(b'"date":null'), "interactions"),
    edited("a user id twice", "user_id: given twice", append(b'"user_id":"x"'), "users"),
    edited(
        "a business id twice",
        "business_id: given twice",
        append(b'"business_id":"x"'),
        "businesses",
    ),
    # Stars.
    *(
        bad_value("stars", value, "stars: not a number", "interactions")
        for value in (b'"5"', b"true", b"[5]", b"{}")
    ),
    *(
        bad_value("stars", value, "stars: not in [1, 5]", "interactions")
        for value in (
            *(b"0", b"0.5", b"-0", b"-5", b"6", b"5.01", b"1e3", b"9" * 30, b"1e-9"),
            *(b"50e-2", b"0.9999", b"5.0000001", b"-1.0", b"0e5"),
        )
    ),
    *(
        bad_value("stars", value, NOT_JSON, "interactions")
        for value in (
            *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"05", b"5.", b".5", b"+5"),
            *(b"5.0.0", b"5e", b"5-", b"4,0", b"5 5"),
        )
    ),
    # Dates.
    *(
        bad_value("date", b'"' + value + b'"', "date: not YYYY-MM-DD HH:MM:SS", "interactions")
        for value in (
            *(b"", b"2015", b"2015-02-30", b"2015-02-29 10:00:00", b"2015-13-01", b"2015-00-10"),
            *(b"2015-01-00", b"2015-01-01 24:00:00", b"2015-01-01 23:60:00", b"2015-04-31"),
            *(b"2015-01-01 23:59:60", b"2015-01-01t10:20:30", b"2015-01-01 10", b"2015/01/01"),
            *(b"2015-1-1", b" 2015-01-01", b"2015-01-01 ", b"2015-01-01 10:20:30z", b"0000-01-01"),
            *(b"2015-01-01\\n", b"2015-01-01 10:20:30.", b"20150-01-01", b"-2015-01-01"),
            *("２０１５-01-01".encode(), b"1900-02-29", b"2015-01-01 -1:00:00", b"2015-01-0:"),
        )
    ),
    *(
        bad_value("date", value, "date: not between 1970 and 2100", "interactions")
        for value in (b'"1969-12-31 23:59:59"', b'"2100-01-01 00:00:01"', b'"0001-01-01"')
    ),
    bad_value("date", b"1425464430", "date: not a string", "interactions"),
    # Good lines that look bad.
    edited("blank", BLANK, lambda line: b""),
    edited("spaces and tabs", BLANK, lambda line: b" \t "),
    edited("a carriage return", BLANK, lambda line: b"\r"),
    edited("good: a carriage return at the end", KEPT, lambda line: line + b"\r"),
    edited("good: spaces around", KEPT, lambda line: b" \t" + line + b" \t\r"),
    edited("good: spaces", KEPT, lambda line: line.replace(b'":', b'"\t: ').replace(b',"', b' ,"')),
    edited("good: returns", KEPT, lambda line: line.replace(b'":', b'"\r:\r')),
    edited("good: unknown fields", KEPT, append(b'"extra":{"stars":[1,{"date":null}]},"new":1e9')),
    edited("good: an unknown field first", KEPT, lambda line: b'{"extra":1.5,' + line[1:]),
    edited("good: an optional field twice", KEPT, append(b'"review_count":5,"review_count":6')),
    edited("good: an empty key", KEPT, append(b'"":""')),
    edited("good: a required key further in", KEPT, append(b'"extra":{"ID":"x","stars":0}')),
    edited(
        "good: another order",
        KEPT,
        lambda line: json.dumps(dict(reversed(json.loads(line).items()))).encode(),
    ),
    edited(
        "good: escaped keys",
        KEPT,
        lambda line: line.replace(b'"business_id"', b'"business\\u005fid"').replace(
            b'"user_id"', b'"\\u0075ser_id"'
        ),
    ),
    good_value("ID", b'"short"', row_id="short"),
    good_value("ID", b'"' + b"x" * 300 + b'"', row_id="x" * 300),
    good_value("ID", "\"é🍜-'id'\"".encode(), row_id="é🍜-'id'"),
    good_value("ID", b'"\\u00e9\\ud83c\\udf5c\\u005f"', row_id="é🍜_"),
    good_value("ID", b'"\\"\\\\\\/\\b\\f\\t"', row_id='"\\/\b\f\t'),
    good_value("ID", b'" spaced "', row_id=" spaced "),
    good_value("ID", b'"{\\"stars\\":1}"', row_id='{"stars":1}'),
    good_value("ID", b'"\x7f,:[]"', row_id="\x7f,:[]"),
    *(
        good_value("UNUSED", b'"' + text + b'"')
        for text in (
            *(b"", b'\\"', b"\\\\", b'\\\\\\"', b"\\\\\\\\", b'\\"\\\\', b"\\/", b"\\u00e9"),
            *(b"\\ud83c\\udf5c", b"\\u0000", b"\\u2028", "\u2028\u0085\ufeff".encode(), b"\x7f"),
            *(b"{}[],:", b"'", b"\\\\u0041", b"\\\\ud800", b"x" * 5000, "é🍜".encode() * 200),
            *(b'\\",\\"stars\\":1.0,\\"text\\":\\"', b'\\"}\\n{\\"review_id\\":\\"x\\"'),
            *(b'\\\\\\",\\"user_id\\":\\"x\\",\\"name\\":\\"', b'said \\"stars\\":5'),
        )
    ),
    *(good_value("UNUSED", value) for value in (b"null", b"5", b"[]", b"{}", b"true", None)),
    *(
        good_value("COUNT", value)
        for value in (b"-0", b"0", b"1.0", b"1e0", b"1" + b"0" * 30, b"1.5", b"null", b'"1"', None)
    ),
    *(
        good_value("stars", value, "interactions")
        for value in (b"1", b"5", b"1.0", b"5.0", b"5.00", b"50e-1", b"0.5e1", b"3.5", b"4E+0")
    ),
    *(
        good_value("date", value, "interactions")
        for value in (
            *(b'"2015-01-01"', b'"2016-02-29"', b'"2000-01-01 00:00:00"', b'"2100-01-01"'),
            *(b'"2015-12-31 23:59:59"', b'"2015\\u002d01-01"', b'"2000-02-29 10:00:00"'),
        )
    ),
]
assert len({(case.name, case.table) for case in CASES}) == len(CASES)
TABLE_CASES = [
    pytest.param(table, case, id=f"{table}: {case.name}")
    for table in TABLES
    for case in CASES
    if case.table in {"", table}
]


@dataclasses.dataclass
class Expected:
    """What must come of a file; see `add`."""

    data: bytearray = dataclasses.field(default_factory=bytearray)
    ids: list[str] = dataclasses.field(default_factory=list)
    rejects: list[tuple[int, str, str]] = dataclasses.field(default_factory=list)
    num_lines: int = 0
    num_blank: int = 0

    def add(self, line, outcome, row_id=None):
        if outcome == KEPT:
            self.ids.append(row_id)
        elif outcome == BLANK:
            self.num_blank += 1
        else:
            shown = line[:1024].decode("utf-8", errors="replace")
            self.rejects.append((len(self.data), outcome, shown))
        self.num_lines += 1
        self.data += line + b"\n"

    def add_good(self, table, number):
        row_id = f"id-{number:019d}"
        self.add(join_fields(raw_fields(table, number).items()), KEPT, row_id)


def add_case(expected, case, table, number):
    row_id = f"id-{number:019d}" if case.row_id is None else case.row_id
    lines = case.line(table, number).split(b"\n")
    for line, outcome in zip(lines, case.outcomes, strict=True):
        expected.add(line, outcome.replace("ID:", f"{ID_KEYS[table]}:"), row_id)


def expect(table):
    """Lays the cases of a table out among good lines."""
    expected = Expected()
    places = {}
    number = 0
    cases = [case for case in CASES if case.table in {"", table}]
    for case in cases:
        expected.add_good(table, number)
        start = len(expected.data)
        add_case(expected, case, table, number + 1)
        places[case.name] = (start, len(expected.data))
        number += 2
    expected.add_good(table, number)
    return expected, places


@dataclasses.dataclass
class Ingested:
    """What came of files.

    Attributes:
      examples: Features of each row by table: each feature's values.
      rejects: (byte_offset, reason, line) of each rejected line by file, in order.
      summary: The summary.
    """

    examples: dict[str, list[dict[str, list]]]
    rejects: dict[str, list[tuple[int, str, str]]]
    summary: dict

    def ids(self, table):
        return [example[ID_KEYS[table]][0] for example in self.examples[table]]


def ingest(root, files, range_bytes):
    """Runs the whole pipeline on files, given by name."""
    data = root / "data"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).write_bytes(content)
    found = inputs.find_inputs(str(data), CONFIG.method)
    split_names = {table: ("all",) for table in TABLES} | {
        "interactions": ("train", "eval", "test")
    }
    split_dirs = {
        table: {split: root / table / split for split in names}
        for table, names in split_names.items()
    }
    directories = [path for by_split in split_dirs.values() for path in by_split.values()]
    for path in (*directories, root / "rejects", root / "staging"):
        path.mkdir(parents=True)
    plan = transforms.Plan(
        files=found,
        split_config=CONFIG,
        split_dirs={
            table: {split: str(path) for split, path in by_split.items()}
            for table, by_split in split_dirs.items()
        },
        rejects_dir=str(root / "rejects"),
        staging_dir=str(root / "staging"),
        num_buckets=dict.fromkeys(TABLES, 2),
        range_bytes=range_bytes,
    )
    with beam.Pipeline() as pipeline:
        _ = pipeline | transforms.IngestFiles(plan)
    tally = tallies.Tally.from_json((root / "staging" / transforms.TALLY_FILE).read_text())
    return Ingested(
        examples={
            table: [row for path in by_split.values() for row in read_examples(path)]
            for table, by_split in split_dirs.items()
        },
        rejects=read_rejects(root / "rejects"),
        summary=summary.summarize(tally, found, CONFIG),
    )


def read_examples(directory):
    rows = []
    for record in tf.data.TFRecordDataset(sorted(map(str, directory.iterdir()))):
        example = tf.train.Example.FromString(record.numpy())
        row = {}
        for key, feature in example.features.feature.items():
            texts = [value.decode() for value in feature.bytes_list.value]
            row[key] = texts or [*feature.int64_list.value, *feature.float_list.value]
        rows.append(row)
    return rows


def read_rejects(directory):
    by_file = {}
    for path in directory.iterdir():
        for line in path.read_text(encoding="utf-8").splitlines():
            reject = json.loads(line)
            shown = by_file.setdefault(reject["file"], [])
            shown.append((reject["byte_offset"], reject["reason"], reject["line"]))
    return {name: sorted(rejects) for name, rejects in by_file.items()}


def check(ingested, table, expected, name=None):
    """Compares all that came of a file with what must come of it."""
    name = name or FILE_NAMES[table]
    assert ingested.rejects.get(name, []) == expected.rejects
    counts = ingested.summary["tables"][table]
    assert counts["lines_read"] == expected.num_lines
    assert counts["blank"] == expected.num_blank
    assert counts["kept"] == len(expected.ids)
    assert sum(counts["rejected"].values()) == len(expected.rejects)
    assert counts["lines_read"] == (
        counts["blank"] + counts["kept"] + sum(counts["rejected"].values())
    )
    if table == "interactions":
        assert sorted(ingested.ids(table)) == sorted(expected.ids)
        assert ingested.summary["num_interactions"] == len(expected.ids)
        return
    # The tables also have the ids that only reviews know.
    key = ID_KEYS[table]
    known_from_reviews = {review[key][0] for review in ingested.examples["interactions"]}
    assert known_from_reviews.isdisjoint(expected.ids)
    assert sorted(ingested.ids(table)) == sorted([*expected.ids, *known_from_reviews])
    assert ingested.summary[f"unknown_{table}"] == len(known_from_reviews)
    assert ingested.summary[f"num_{table}"] == len(expected.ids) + len(known_from_reviews)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """What must come, and what came, of a run over all cases, in ranges of a few lines each."""
    expected = {table: expect(table) for table in TABLES}
    files = {FILE_NAMES[table]: bytes(expected[table][0].data) for table in TABLES}
    return expected, ingest(tmp_path_factory.mktemp("damaged"), files, range_bytes=4_000)


@pytest.mark.parametrize(("table", "case"), TABLE_CASES)
def test_a_bad_line_is_rejected_and_a_good_one_kept(damaged, table, case):
    expected, ingested = damaged
    start, end = expected[table][1][case.name]
    wanted = [reject for reject in expected[table][0].rejects if start <= reject[0] < end]
    found = [reject for reject in ingested.rejects[FILE_NAMES[table]] if start <= reject[0] < end]
    assert found == wanted


@pytest.mark.parametrize("table", TABLES)
def test_all_that_is_good_among_bad_lines_is_kept_and_counts_add_up(damaged, table):
    expected, ingested = damaged
    check(ingested, table, expected[table][0])


def test_neighbours_of_bad_lines_keep_their_values(damaged):
    _, ingested = damaged
    rows = {row["review_id"][0]: row for row in ingested.examples["interactions"]}
    assert rows["id-0000000000000000000"] == {
        "review_id": ["id-0000000000000000000"],
        "user_id": ["writer-000000000000000"],
        "business_id": ["place-0000000000000000"],
        "stars": [4.0],
        "timestamp_seconds": [1425464430],
        "useful": [1],
        "funny": [0],
        "cool": [12],
    }
    # Each case stands beside a good line: all of these are alike.
    good = [row for row in rows.values() if row["review_id"][0].endswith(("0", "2", "4", "6", "8"))]
    assert {(*row["stars"], *row["timestamp_seconds"], *row["cool"]) for row in good} == {
        (4.0, 1425464430, 12)
    }


@pytest.mark.parametrize(("table", "case"), TABLE_CASES)
def test_a_line_among_many_that_are_alike(table, case):
    # A block in which all but the case's own lines could be read by some short cut.
    expected = Expected()
    for number in range(NUM_AROUND):
        expected.add_good(table, number)
    add_case(expected, case, table, NUM_AROUND)
    expected.add_good(table, NUM_AROUND + 1)
    parsed = parsing.parse_block(table, bytes(expected.data), 0)
    rejects = [(reject.byte_offset, reject.reason, reject.line) for reject in parsed.rejects]
    assert rejects == expected.rejects
    assert parsed.rows[ID_KEYS[table]].to_pylist() == expected.ids
    assert (parsed.num_lines, parsed.num_blank) == (expected.num_lines, expected.num_blank)


@pytest.mark.parametrize("compressed", [False, True])
def test_marks_returns_and_a_truncated_end(tmp_path, compressed):
    """A byte order mark, CRLF throughout, and a last line that is cut."""
    expected, files = {}, {}
    for table in TABLES:
        expected[table] = Expected(bytearray(b"\xef\xbb\xbf"))
        for number in range(40):
            row_id = f"id-{number:019d}"
            line = join_fields(raw_fields(table, number).items()) + b"\r"
            expected[table].add(line, KEPT, row_id)
        line = join_fields(raw_fields(table, 40).items())[:-7]
        expected[table].add(line, "truncated line")
        content = bytes(expected[table].data[:-1])
        name = FILE_NAMES[table] + ".gz" * compressed
        files[name] = gzip.compress(content) if compressed else content
    ingested = ingest(tmp_path, files, 2_000)
    for (name, _), table in zip(files.items(), TABLES, strict=True):
        check(ingested, table, expected[table], name)


def test_a_gzip_file_cut_short_gives_all_that_can_be_had(tmp_path):
    expected, files = {}, {}
    for table in TABLES:
        content = b"".join(
            join_fields(raw_fields(table, number).items()) + b"\n" for number in range(400)
        )
        packed = gzip.compress(content)
        cut = packed[: len(packed) * 2 // 3]
        *whole, rest = zlib.decompressobj(wbits=31).decompress(cut).split(b"\n")
        assert whole and rest and len(whole) < 400
        expected[table] = Expected()
        for number, line in enumerate(whole):
            expected[table].add(line, KEPT, f"id-{number:019d}")
        expected[table].add(rest, "truncated gzip")
        files[f"{FILE_NAMES[table]}.gz"] = cut
    ingested = ingest(tmp_path, files, 2_000)
    for table in TABLES:
        check(ingested, table, expected[table], f"{FILE_NAMES[table]}.gz")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_line_of_50_mb_is_rejected_alone(tmp_path, compressed):
    expected = Expected()
    for number in range(3):
        expected.add_good("interactions", number)
    fields = raw_fields("interactions", 3) | {"text": b'"' + b"x" * (50 << 20) + b'"'}
    expected.add(join_fields(fields.items()), "line longer than 16 MiB")
    for number in range(4, 7):
        expected.add_good("interactions", number)
    content = bytes(expected.data)
    name = FILE_NAMES["interactions"] + ".gz" * compressed
    files = {name: gzip.compress(content, 1) if compressed else content}
    check(ingest(tmp_path, files, 8 << 20), "interactions", expected, name)


# The property: whatever happens to its lines, a block is what its lines are one by one, and these
# are what a second opinion says of them.

# Bytes that mean something to a parser come more often than others.
VALUE_PATTERN = rb'"(?:[^"\\]|\\.)*"|[-+.0-9eE]+'
STRUCTURE = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\t", b" ", b"\0"]
PIECES = [
    *STRUCTURE,
    *(b'\\"', b"\\\\", b'","', b'":"', b'":', b',"', b'"}', b"}{", b"\\u", b"\\ud800", b"\\n"),
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", "é".encode(), "🍜".encode(), b"\xef\xbb\xbf", b"\x01"),
    *(b"\x1f", b"\x7f", b"0", b"1", b"9", b"-", b"+", b".", b"e", b"E5", b"null", b"true", b"NaN"),
    *(b'"stars":', b'"stars":3.0,', b'"user_id":"x",', b'"date"', b'"business_id":', b"\x0c"),
    *(b'\\",\\"stars\\":1.0,\\"text\\":\\"', b'"st\\u0061rs":2,', b"/", b"'", b"\\u0041"),
    *(
        b"\\x",
        b"\\u12g4",
        b"\\u12",
        b"\\udc00",
        b"\\ud83c\\udf5c",
        b"\\u0000",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
    ),
]
VALUES = [
    *(b"0", b"1", b"5", b"5.0", b"4.5", b"01", b"1.", b".5", b"+1", b"-0", b"-0.0", b"-1", b"1e0"),
    *(b"50e-1", b"5e-1", b"1e999", b"1e-999", b"9" * 19, b"9223372036854775807", b"9" * 400),
    *(b"9223372036854775808", b"-9223372036854775809", b"18446744073709551616", b"3.1415926535"),
    *(b"0.99999999999999999", b"5.00000000000000001", b"4.35", b"NaN", b"Infinity", b"-", b"1-1"),
    *(b"true", b"null", b"[]", b"{}", b'""', b'" "', b'"x"', b'"\\u0000"', b'"\\ud800"', b"1 "),
    *(b'"2015-02-30"', b'"2016-02-29"', b'"2015-13-01"', b'"2015-01-01 24:00:00"', b'"2015-01-01"'),
    *(b'"2100-01-01 00:00:00"', b'"2100-01-01 00:00:01"', b'"1969-12-31 23:59:59"', b'"None"'),
    *(
        b'"2015-01-01 10:20:60"',
        b'"2015-01-01T10:20:30"',
        b'"2015-1-01 10:20:301"',
        b'"2012,20,20"',
    ),
    *(b'"2015-01-01 1\\u0030:20:30"', b'"a, b,, a"', b'"\\""', b'"\\\\"', b'"\\\\\\""', b"-1000"),
    *(b"-1001", b"1.5", b"90", b"90.0000001", b"1e18", b"1e19", b"12345678901234567890123"),
]
TEXTS = [b'"Invented."', b'"\\""', b'"\\\\"', b'"a\\/b"', b'"\\u00e9"', b'"\\ud83c\\udf5c"']
TEXTS += ['"é🍜"'.encode(), b'"\\",\\"stars\\":1.0,\\"text\\":\\""', b'"\\n\\"date\\":"', b'""']


def write_line(table, number, dialect, text, changes=()):
    """Writes a row as some program would: the order of keys and the space between them differ."""
    colon, comma, order, end = dialect
    fields = raw_fields(table, number) | {UNUSED_KEYS[table]: text} | dict(changes)
    return join_fields(order(list(fields.items())), colon, comma) + end


def draw_dialect(draw):
    return (
        draw.choice([b":", b":", b":", b": ", b": ", b" :\t"]),
        draw.choice([b",", b", "]),
        draw.choice([list, sorted, lambda items: items[::-1]]),
        draw.choice([*[b""] * 8, b"\r", b" "]),
    )


def damage(draw, line, pieces):
    """Damages a line in one place, most often inside a value or beside a mark of the syntax."""
    piece = draw.choice(pieces)
    start = draw.randrange(len(line) + 1)
    kind = draw.choice(["value", "value", "value", "mark", "mark", "any", "cut", "double", "move"])
    if kind == "value":
        spans = [match.span() for match in re.finditer(VALUE_PATTERN, line)]
        first, last = draw.choice(spans or [(0, len(line))])
        start = draw.randint(min(first + 1, last), last)
    elif kind == "mark":
        marks = [match.start() for match in re.finditer(rb'["\\,:{}]', line)]
        start = draw.choice(marks or [0]) + draw.randint(0, 1)
    end = min(start + draw.choice([1, 1, 2, 3, 8, 40]), len(line))
    if kind == "cut":
        return line[:start] + line[end:]
    if kind == "double":
        return line[:end] + line[start:]
    if kind == "move":
        rest = line[:start] + line[end:]
        to = draw.randrange(len(rest) + 1)
        return rest[:to] + line[start:end] + rest[to:]
    return line[:start] + piece + line[draw.choice([start, start, start + len(piece), end]) :]


def draw_odd_line(draw, table, number, dialect, pieces):
    """Draws a line with other values, other keys or damage, or several of these."""
    if draw.random() < 0.1:
        dialect = draw_dialect(draw)
    keys = list(raw_fields(table, number))
    num_changes = draw.choice([0, 0, 0, 1, 2])
    changes = {draw.choice([*keys, "extra"]): draw.choice(VALUES) for _ in range(num_changes)}
    line = write_line(table, number, dialect, draw.choice(TEXTS), changes)
    if draw.random() < 0.1:
        first, second = (key.encode() for key in draw.sample(keys, 2))
        swapped = {first: second, second: first}
        pattern = b'(?<=")(' + b"|".join(swapped) + b')(?=" *:)'
        line = re.sub(pattern, lambda match: swapped[match.group()], line)
    for _ in range(draw.choice([0, 1, 1, 1, 1, 2, 4]) if num_changes else draw.choice([1, 1, 2])):
        line = damage(draw, line, pieces)
    return line


def make_block(table, seed, line_seeds):
    """Makes a block of good lines and, for each of some seeds, an odd one among them.

    The lines of a block have one dialect for the most part, and one small set of pieces that
    damage them: a piece that spoils a whole block is not to hide the others.
    """
    draw = random.Random(seed)
    dialect = draw_dialect(draw)
    pieces = draw.sample(PIECES, draw.choice([1, 1, 2, 3, 5, 20, len(PIECES)]))
    texts = draw.choices(TEXTS, k=3)
    lines = [
        write_line(table, number, dialect, texts[number % len(texts)])
        for number in range(NUM_AROUND)
    ]
    for number, line_seed in enumerate(line_seeds, start=NUM_AROUND):
        own = random.Random(line_seed)
        odd = draw_odd_line(own, table, number, dialect, pieces)
        lines.insert(own.randrange(len(lines) + 1), odd)
    return b"\n".join(lines) + draw.choice([b"\n", b"\n", b""])


@functools.lru_cache(maxsize=1 << 16)
def parse_alone(table, line, starts_file):
    return parsing.parse_block(table, line, 0 if starts_file else 1)


def parse_line_by_line(table, data):
    """Parses each line of a block on its own and puts the results together."""
    parts, rejects = [], []
    offset = 0
    for line in re.findall(rb"[^\n]*\n|[^\n]+$", data):
        part = parse_alone(table, line, offset == 0)
        parts.append(part)
        rejects += [dataclasses.replace(reject, byte_offset=offset) for reject in part.rejects]
        offset += len(line)
    ignored = sum((part.ignored_fields for part in parts), start=type(parts[0].ignored_fields)())
    return parsing.ParsedBlock(
        rows=pa.concat_tables([part.rows for part in parts]),
        rejects=rejects,
        num_lines=sum(part.num_lines for part in parts),
        num_blank=sum(part.num_blank for part in parts),
        ignored_fields=ignored,
    )


class Members(list):
    """The (key, value) pairs of a JSON object, repeats included."""


def refuse_constant(text):
    raise ValueError(f"{text} is no JSON")


def read_number(kind, text):
    """Reads a number; one beyond double precision's range is refused, as any reader may.

    Source: RFC 8259, section 6.
    """
    if not np.isfinite(float(text)):
        raise ValueError(f"{text} is out of range")
    return kind(text)


def second_opinion(table, line):
    """Judges a line by the standard library: None if it is bad, "" if blank, else its values."""
    if not line.strip():
        return BLANK
    try:
        # Strict UTF-8; what decodes and then does not encode has half a surrogate pair.
        members = json.loads(
            line.decode("utf-8"),
            object_pairs_hook=Members,
            parse_constant=refuse_constant,
            parse_float=functools.partial(read_number, float),
            parse_int=functools.partial(read_number, int),
        )
        repr(members).encode("utf-8")
        json.dumps(members, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, Members):
        return None
    record = dict(members)
    keys = [key for key, _ in members]
    required = {
        "interactions": ("review_id", "user_id", "business_id", "stars", "date"),
        "users": ("user_id",),
        "businesses": ("business_id",),
    }[table]
    if any(keys.count(key) != 1 for key in required):
        return None
    ids = tuple(record[key] for key in required if key.endswith("_id"))
    if not all(isinstance(value, str) and value.strip() for value in ids):
        return None
    if any(set(value) & set("\0\n\r") for value in ids):
        return None
    if table != "interactions":
        return ids
    stars, date = record["stars"], record["date"]
    if type(stars) not in {int, float} or not 1 <= stars <= 5:
        return None
    seconds = read_date(date) if isinstance(date, str) else None
    if seconds is None:
        return None
    votes = (read_votes(record.get(key)) for key in ("useful", "funny", "cool"))
    return (*ids, float(np.float32(stars)), seconds, *votes)


def read_date(text):
    for layout in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            date = datetime.datetime.strptime(text, layout)
        except ValueError:
            continue
        if date.strftime(layout) == text and datetime.datetime(2000, 1, 1) <= date <= (
            datetime.datetime(2100, 1, 1)
        ):
            return calendar.timegm(date.timetuple())
    return None


def read_votes(value):
    if type(value) not in {int, float} or not -1000 <= value < 2**63 or value % 1:
        return None
    return int(value)


SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize("table", TABLES)
def test_any_block_is_what_its_lines_are_one_by_one(table):
    @hypothesis.settings(max_examples=400, deadline=None)
    @hypothesis.given(SEEDS, st.lists(SEEDS, min_size=1, max_size=30, unique=True))
    def check_block(seed, line_seeds):
        data = make_block(table, seed, line_seeds)
        whole = parsing.parse_block(table, data, 0)
        apart = parse_line_by_line(table, data)
        assert whole.rejects == apart.rejects
        assert whole.rows.equals(apart.rows)
        assert (whole.num_lines, whole.num_blank) == (apart.num_lines, apart.num_blank)
        assert whole.ignored_fields == apart.ignored_fields

        lines = data.removesuffix(b"\n").removeprefix(b"\xef\xbb\xbf").split(b"\n")
        judged = [second_opinion(table, line) for line in lines]
        good = [verdict for verdict in judged if verdict is not None and verdict != BLANK]
        columns = whole.rows.select(KNOWN_COLUMNS[table]).to_pydict().values()
        assert list(zip(*columns, strict=True)) == good
        assert whole.num_blank == judged.count(BLANK)
        assert len(whole.rejects) == judged.count(None)

    check_block()


# What the second opinion tells of a row.
KNOWN_COLUMNS = {
    "interactions": [
        *("review_id", "user_id", "business_id", "stars", "timestamp_seconds"),
        *("useful", "funny", "cool"),
    ],
    "users": ["user_id"],
    "businesses": ["business_id"],
}
