import pytest

from components.yelp_example_gen import fields


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86400),
        ("1970-01-01", fields.MIN_TIMESTAMP_SECONDS),
        ("2100-01-01 00:00:00", fields.MAX_TIMESTAMP_SECONDS),
        # 11,016 days from 1970 to 2000-02-29, a leap day: 30 * 365 + 7 + 59.
        ("2000-02-29 23:59:59", (30 * 365 + 7 + 59) * 86400 + 86399),
        ("1970-01-02 00:01", 86460),
        ("1970-01-02T00:00:05", 86405),
        ("1970-01-02T00:00:05Z", 86405),
        ("1970-01-02T00:00:05.999999Z", 86405),
        # Two hours ahead of UTC.
        ("1970-01-02T03:00:00+02:00", 90000),
        ("1970-01-01 23:59:59.5-00:30", 88199),
    ],
)
def test_timestamp(text, seconds):
    assert fields.parse_timestamp(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2015",
        "2015-02-29",
        "2015-1-2",
        "2015-01-02 24:00:00",
        "2015-01-02 03",
        "2015-01-02T",
        "2015-01-02Z",
        "2015-01-02t03:04:05",
        "2015-01-02T03:04:05.",
        "2015-01-02T03:04:05 Z",
        "2015-01-02T03:04:05+2:00",
        "2015-01-02T03:04:05+24:00",
        "2015-01-02 03:04:05 ",
        "2015-01-02 03:04:05\n",
        "٢٠١٥-٠١-٠٢",
        "01/02/2015",
    ],
)
def test_what_is_no_timestamp(text):
    with pytest.raises(ValueError):
        fields.parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("None", []),
        ("a", ["a"]),
        ("b, a, b,  c , ", ["b", "a", "b", "c"]),
        ("Books, Mags, Music & Video", ["Books", "Mags", "Music & Video"]),
    ],
)
def test_names(text, names):
    assert fields.split_names(text) == names


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("", []),
        ("None", []),
        ("2012", [2012]),
        ("2013,2012,2013", [2012, 2013]),
        ("20,20", [2020]),  # Yelp's 2020
        ("2019,20,20,2021", [2019, 2020, 2021]),
        ("2020,2021", [2020, 2021]),  # holds the characters 20,20 as well
        ("20,20,2020", [2020]),
    ],
)
def test_elite_years(text, years):
    assert fields.parse_elite_years(text) == years


@pytest.mark.parametrize("text", ["20", "2012,", "12", "2012;2013", "1999", "20,2012"])
def test_what_is_no_elite_year(text):
    with pytest.raises(ValueError):
        fields.parse_elite_years(text)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("u'no'", ["K=no"]),
        ("'none'", ["K=none"]),
        ("free", ["K=free"]),  # older releases: no literal
        ("True", ["K=True"]),
        (True, ["K=True"]),
        ("2", ["K=2"]),
        ("None", []),
        (None, []),
        ("", []),
        ("''", []),
        ("{'garage': False, 'lot': True, 'valet': None}", ["K.garage=False", "K.lot=True"]),
        ({"garage": False}, ["K.garage=False"]),
        ("{}", []),
        ("{u'dinner': u'yes'}", ["K.dinner=yes"]),
        ("{'cut", ["K={'cut"]),
    ],
)
def test_attribute_tokens(value, tokens):
    assert fields.attribute_tokens("K", value) == tuple(tokens)


@pytest.mark.parametrize("value", ["[1, 2]", ["a"], "{'a': {'b': 1}}", "(1,)"])
def test_attributes_of_another_kind(value):
    with pytest.raises(ValueError, match="Expected a string, number or bool for K"):
        fields.attribute_tokens("K", value)


@pytest.mark.parametrize("num_times", [1, 2])  # the second time out of the cache
def test_attributes_of_a_business(num_times):
    for _ in range(num_times):
        tokens, unusable = fields.all_attribute_tokens({"WiFi": "u'no'", "Lot": "{'a': 1, 'b': 2}"})
        assert (tokens, unusable) == (["WiFi=no", "Lot.a=1", "Lot.b=2"], [])
        mixed = {"A": [1], "B": "2", "C": "[3]", "D": {"e": "f"}, "G": None}
        assert fields.all_attribute_tokens(mixed) == (["B=2", "D.e=f"], ["A", "C"])
        for value in (True, 1, 1.0, "1", "True"):
            assert fields.all_attribute_tokens({"K": value}) == ([f"K={value}"], [])


def test_attribute_that_is_no_sane_literal_is_harmless():
    assert fields.attribute_tokens("K", "(" * 2000) == ("K=" + "(" * 2000,)
    assert fields.attribute_tokens("K", "-" * 4000 + "1") == ("K=" + "-" * 4000 + "1",)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("11:0-23:0", (660, 1380)),
        ("0:0-0:0", (0, 1440)),  # never closes
        ("17:30-2:15", (1050, 1440 + 135)),
        ("9:0-9:0", (540, 540 + 1440)),
        ("8:0-24:0", (480, 1440)),
    ],
)
def test_day_hours(text, minutes):
    assert fields.parse_day_hours(text) == minutes


@pytest.mark.parametrize("text", ["", "11-23", "11:0-25:0", "11:60-12:0", "24:1-2:0", "a:b-c:d"])
def test_what_are_no_day_hours(text):
    with pytest.raises(ValueError):
        fields.parse_day_hours(text)


def test_week_hours():
    opening, closing, num_unreadable = fields.parse_hours({
        "Monday": "0:0-0:0",
        "Tuesday": None,
        "Wednesday": "closed",
        "Sunday": "10:0-1:0",
        "Funday": "1:0-2:0",
    })
    assert opening == [0, -1, -1, -1, -1, -1, 600]
    assert closing == [1440, -1, -1, -1, -1, -1, 1500]
    assert num_unreadable == 2  # Wednesday's text and Funday
