import numpy as np
import pytest

from components.yelp_example_gen import line_shapes

LINE = rb'{"id":"a\"b","n":4.5,"t":""}'


def match(*lines, shape=LINE, max_line_bytes=1000):
    data = b"".join(line + b"\n" for line in lines)
    located = line_shapes.locate_lines(data)
    learnt = line_shapes.learn_shape(shape)
    shaped = line_shapes.match_lines(data, located, learnt, max_line_bytes)
    return data, shaped


def texts(data, spans):
    return [data[start:end] for start, end in zip(spans.starts, spans.ends, strict=True)]


def test_shape_of_a_line():
    shape = line_shapes.learn_shape(LINE)
    assert [(slot.key, slot.is_string, slot.lead) for slot in shape.slots] == [
        ("id", True, b'{"id":"'),
        ("n", False, b'","n":'),
        ("t", True, b',"t":"'),
    ]
    assert shape.tail == b'"}'
    assert shape.num_quotes == 10


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"{}",
        b"5",
        b'["a"]',
        b'{"a":null}',
        b'{"a":true}',
        b'{"a":{"b":1}}',
        b'{"a":[1]}',
        b'{"a":1,"b":{"c":2}}',
        b'{"a":1,"a":2}',
        b'{"\\u0061":1}',
        b'{"a":1}{"a":1}',
        b'{"a":01}',
        b' {"a":1}',
        b'\xef\xbb\xbf{"a":1}',
    ],
)
def test_what_has_no_shape(line):
    assert line_shapes.learn_shape(line) is None


def test_values_of_lines_of_one_shape():
    data, shaped = match(LINE, rb'{"id":"","n":0,"t":"\n \u00e9"}', LINE)
    assert shaped.lines.tolist() == [0, 1, 2]
    assert texts(data, shaped.strings["id"]) == [rb"a\"b", b"", rb"a\"b"]
    assert texts(data, shaped.strings["t"]) == [b"", rb"\n \u00e9", b""]
    assert shaped.numbers["n"].floats().tolist() == [4.5, 0.0, 4.5]


@pytest.mark.parametrize("text", [rb"\ud83d\ude00", rb"\u00e9\uD83D\uDE00\ud83d\ude01 \u00e9"])
def test_surrogates_may_come_in_pairs(text):
    data, shaped = match(LINE, LINE.replace(b'""', b'"%s"' % text))
    assert shaped.lines.tolist() == [0, 1]
    assert texts(data, shaped.strings["t"]) == [b"", text]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        LINE[:-1],
        LINE + b" ",
        b" " + LINE,
        LINE + LINE,
        LINE.replace(b":4.5", b": 4.5"),
        LINE.replace(b"4.5", b""),
        LINE.replace(b"4.5", b"-4.5"),
        LINE.replace(b"4.5", b"null"),
        LINE.replace(b"4.5", b'"4.5"'),
        LINE.replace(b"4.5", b"4,5"),
        LINE.replace(b'"n"', b'"m"'),
        LINE.replace(b'"n":4.5,', b""),
        LINE.replace(b'"n":4.5', b'"n":4.5,"n":4.5'),
        LINE.replace(b'""', b'"\xff"'),
        LINE.replace(b'""', b'"\xe2\x82"'),  # cut
        LINE.replace(b'""', b'"\xed\xa0\x80"'),  # a surrogate
        LINE.replace(b'""', b'"\xc0\xaf"'),  # longer than need be
        LINE.replace(b'""', b'"\t"'),
        LINE.replace(b'""', b'"\0"'),
        LINE.replace(b'""', rb'"\x"'),
        LINE.replace(b'""', rb'"\u12"'),
        LINE.replace(b'""', rb'"\ud800"'),
        LINE.replace(b'""', rb'"\ude00\ud83d"'),
        LINE.replace(b'""', rb'"\ud83d \ude00"'),
        LINE.replace(b'""', rb'"\ud83d\ud83d\ude00"'),
        LINE.replace(b'""', rb'"\ud83d\ude00\ude00"'),
        LINE.replace(b'""', rb'"\ud83d","x":"\ude00"'),
        LINE.replace(b'""', rb'"\\"'),  # fine, but left to a real parser
        LINE.replace(b'""', rb'"\"'),
        LINE.replace(b'""', b'"""'),
        LINE.replace(b'""', b'"","x":""'),
        LINE.replace(b'"t":""', rb'"t":"\","x":"'),
        LINE.replace(rb"\"b", b"b\\"),
        b'{"id":"a\\"b","n":4.5,"t":"' + b"x" * 1000 + b'"}',
    ],
)
def test_lines_of_another_shape_leave_the_others_alone(line):
    data, shaped = match(LINE, line, LINE)
    assert shaped.lines.tolist() == [0, 2]
    assert texts(data, shaped.strings["id"]) == [rb"a\"b"] * 2


def test_a_last_line_without_newline_and_a_last_backslash():
    for end in (b"", b"\\"):
        data = LINE + b"\n" + LINE + end
        located = line_shapes.locate_lines(data)
        assert located.ends.tolist() == [len(LINE), len(data)]
        shaped = line_shapes.match_lines(data, located, line_shapes.learn_shape(LINE), 1000)
        assert shaped.lines.tolist() == ([0] if end else [0, 1])


def test_marks():
    lines = line_shapes.locate_lines(b'a"\\"\r\n\n\x01"')
    assert lines.starts.tolist() == [0, 6, 7]
    assert lines.ends.tolist() == [5, 6, 9]
    assert lines.quotes.tolist() == [1, 8]
    assert lines.escapes.tolist() == [3]
    assert lines.controls.tolist() == [4, 7]
    nothing = line_shapes.locate_lines(b"")
    assert all(len(places) == 0 for places in vars(nothing).values())


def test_spans_are_selected():
    spans = line_shapes.Spans(np.array([1, 2]), np.array([3, 4])).take(np.array([False, True]))
    assert (spans.starts.tolist(), spans.ends.tolist()) == ([2], [4])
