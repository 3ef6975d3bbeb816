import dataclasses
import json
import pathlib

import pytest

from components.yelp_example_gen import parsing, ranges

ROOT = pathlib.Path(__file__).resolve().parents[3]


def encode(*records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def ids(parsed):
    return parsed.rows["review_id"].to_pylist()


# Lines that are no review; each between good ones must be rejected alone.
GOOD_TEXT = json.dumps({
    "review_id": "x",
    "user_id": "u",
    "business_id": "b",
    "stars": 5,
    "date": "2015-01-01",
}).encode()
BAD_LINES = [
    (b"{", "not JSON"),
    (b"hello", "not JSON"),
    (GOOD_TEXT[:-1], "not JSON"),
    (GOOD_TEXT.replace(b"5", b"NaN"), "not JSON"),
    (GOOD_TEXT.replace(b'"x"', b'"x\xff"'), "invalid UTF-8"),
    (GOOD_TEXT.replace(b'"x"', b'"x\0"'), "NUL byte"),
    (b"\0" * 50, "NUL byte"),
    (GOOD_TEXT + GOOD_TEXT, "more than one JSON value"),
    (GOOD_TEXT + b" " + GOOD_TEXT, "more than one JSON value"),
    (b"[" + GOOD_TEXT + b"]", "not a JSON object"),
    (b"5", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b"{}", "review_id: missing"),
    (GOOD_TEXT.replace(b"5", b"6", 1), "stars: not in [1, 5]"),
    (GOOD_TEXT.replace(b"5", b"1e999", 1), None),
    (GOOD_TEXT.replace(b'"u"', b"null"), "user_id: null"),
    (GOOD_TEXT.replace(b'"u"', b'"\\u0000"'), "user_id: holds NUL"),
    (GOOD_TEXT.replace(b'"u"', b'"\\ud800"'), "not JSON"),
    (GOOD_TEXT[:-1] + b', "stars": 1}', "stars: given twice"),
    (GOOD_TEXT[:-1] + b', "user_id": "u"}', "user_id: given twice"),
    (b"\xef\xbb\xbf" + GOOD_TEXT, "not JSON"),  # a byte order mark, but not at the file's start
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_only_the_bad_line_is_rejected(yelp, bad, reason):
    before, after = encode(yelp.review(1), yelp.review(2)), encode(yelp.review(3))
    parsed = parsing.parse_block("interactions", before + bad + b"\n" + after, 1000)
    assert ids(parsed) == ["review-0001", "review-0002", "review-0003"]
    (reject,) = parsed.rejects
    assert reject.byte_offset == 1000 + len(before)
    assert reject.line == bad.decode("utf-8", errors="replace")
    assert reason is None or reject.reason == reason
    assert (parsed.num_lines, parsed.num_blank) == (4, 0)


def test_all_bad_lines_among_good_ones(yelp):
    data = b"".join(encode(yelp.review(i)) + bad + b"\n" for i, (bad, _) in enumerate(BAD_LINES))
    parsed = parsing.parse_block("interactions", data, 0)
    assert ids(parsed) == [f"review-{i:04d}" for i in range(len(BAD_LINES))]
    for reject, (bad, _) in zip(parsed.rejects, BAD_LINES, strict=True):
        assert data[reject.byte_offset :].startswith(bad + b"\n")


def test_a_repeated_key_is_found_beside_a_line_that_lacks_it(yelp):
    # The block as a whole holds as many "stars" as lines.
    lacking = {"review_id": "x", "user_id": "u", "business_id": "b", "date": "2015-01-01"}
    twice = GOOD_TEXT[:-1] + b', "stars": 1}'
    parsed = parsing.parse_block("interactions", encode(lacking) + twice + b"\n", 0)
    assert [reject.reason for reject in parsed.rejects] == ["stars: missing", "stars: given twice"]


def test_what_only_looks_like_a_repeated_key_is_kept(yelp):
    lines = [
        yelp.review(1, text='he said "stars": 5'),
        yelp.review(2, text="stars"),
        yelp.review(3, extra={"stars": 1}),
    ]
    parsed = parsing.parse_block("interactions", encode(*lines), 0)
    assert parsed.rejects == []
    assert parsed.rows.num_rows == 3


def test_fields_ignored_on_rejected_lines_are_not_counted(yelp):
    lines = [
        yelp.user(1, fans=-1),
        yelp.user(None, user_id=None, friends=3),
        yelp.user(2, fans="x"),
    ]
    parsed = parsing.parse_block("users", encode(*lines), 0)
    assert [reject.reason for reject in parsed.rejects] == ["user_id: null"]
    assert parsed.ignored_fields == {"fans": 2}


def test_marks_line_ends_and_blank_lines_are_tolerated(yelp):
    data = b"\xef\xbb\xbf" + encode(yelp.review(1), yelp.review(2))
    data = data.replace(b"\n", b"\r\n") + b"\n \r\n\t\n" + encode(yelp.review(3))
    parsed = parsing.parse_block("interactions", data, 0)
    assert ids(parsed) == ["review-0001", "review-0002", "review-0003"]
    assert parsed.rejects == []
    assert (parsed.num_lines, parsed.num_blank) == (6, 3)


def test_an_unterminated_last_line_is_kept_if_it_is_whole(yelp):
    data = encode(yelp.review(1), yelp.review(2))
    assert ids(parsing.parse_block("interactions", data[:-1], 0)) == ["review-0001", "review-0002"]
    parsed = parsing.parse_block("interactions", data[:-2], 0)
    assert ids(parsed) == ["review-0001"]
    (reject,) = parsed.rejects
    assert reject.reason == "truncated line"
    assert reject.byte_offset == len(encode(yelp.review(1)))


@pytest.mark.parametrize(
    ("num_cut", "kept", "shown"),
    [(0, 2, False), (1, 2, False), (2, 1, True), (30, 1, True)],
)
def test_damage_is_always_a_reject(yelp, num_cut, kept, shown):
    data = encode(yelp.review(1), yelp.review(2))
    data = data[: len(data) - num_cut]
    parsed = parsing.parse_block("interactions", data, 0, "truncated gzip")
    assert parsed.rows.num_rows == kept
    (reject,) = parsed.rejects
    assert reject.reason == "truncated gzip"
    assert bool(reject.line) == shown
    assert parsed.num_lines == kept + 1


def test_shown_lines_are_cut(yelp):
    parsed = parsing.parse_block("users", b"x" * 5000 + b"\n", 0)
    assert parsed.rejects[0].line == "x" * 1024


def test_too_long_lines(yelp, monkeypatch):
    monkeypatch.setattr(ranges, "MAX_LINE_BYTES", 1 << 20)
    long = yelp.review(1, text="x" * (1 << 20))
    parsed = parsing.parse_block("interactions", encode(long, yelp.review(2)), 0)
    assert ids(parsed) == ["review-0002"]
    assert parsed.rejects[0].reason == "line longer than 1 MiB"


@pytest.mark.parametrize("table", ["interactions", "users", "businesses"])
def test_a_block_without_rows_has_the_columns_all_the_same(table):
    parsed = parsing.parse_block(table, b"\n", 0)
    assert parsed.rows.num_rows == 0
    assert parsed.rows.num_columns > 5
    assert parsed.num_blank == 1


@pytest.mark.parametrize(
    ("table", "kind"), [("interactions", "review"), ("businesses", "business")]
)
def test_real_lines(table, kind):
    path = ROOT / "../shared/data/genuine" / f"yelp_academic_dataset_{kind}.json"
    if not path.exists():
        pytest.skip(f"Yelp's licence keeps real data out of the project: no {path}")
    data = path.read_bytes()
    parsed = parsing.parse_block(table, data, 0)
    assert parsed.rejects == []
    assert parsed.rows.num_rows == parsed.num_lines == data.count(b"\n")
    assert not parsed.ignored_fields
    if table == "businesses":
        tokens = {token for row in parsed.rows["attributes"].to_pylist() for token in row or []}
        assert {"WiFi=no", "BusinessParking.lot=True"} <= tokens
        assert not any("u'" in token or "{" in token for token in tokens)


@pytest.mark.parametrize("count", [6, 200])
def test_texts_that_are_no_strings_are_ignored(yelp, count):
    texts = ["Soup", 'say \\ "é"\n', None, 5, ["a"], ""]
    lines = [yelp.review(i, text=texts[i % len(texts)]) for i in range(count)]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    parsed = parsing.parse_block("interactions", data, 0, with_text=True)
    told = [text if isinstance(text, str) else None for text in texts]
    assert parsed.rows["text"].to_pylist() == [told[i % len(told)] for i in range(count)]
    num_unusable = sum(i % len(texts) in {3, 4} for i in range(count))
    assert (parsed.rejects, parsed.ignored_fields) == ([], {"text": num_unusable})
    assert "text" not in parsing.parse_block("interactions", data, 0).rows.column_names


def test_blocks_are_merged():
    data = b'{"user_id":"a","fans":1}\n\nx\n{"user_id":"b","fans":"x"}\n'
    cut = data.index(b"x\n")
    first = parsing.parse_block("users", data[:cut], 0)
    merged = parsing.merge_blocks([first, parsing.parse_block("users", data[cut:], cut)])
    whole = parsing.parse_block("users", data, 0)
    assert merged.rows.equals(whole.rows)
    assert dataclasses.replace(merged, rows=None) == dataclasses.replace(whole, rows=None)
    assert (merged.num_lines, merged.num_blank, len(merged.rejects)) == (4, 1, 1)
    assert merged.ignored_fields == {"fans": 1}
