import datetime

import pytest

from models.errors import ConfigError
from pipeline.query import parse_time
from serving.questions import minute_of_week


@pytest.mark.parametrize(
    ("text", "minute"),
    [
        ("Mon 0:00", 0),
        ("Monday 00:01", 1),
        ("tue 1:30", 1_440 + 90),
        ("FRI 21:00", 4 * 1_440 + 1_260),
        ("Sunday 23:59", 10_079),
        (" thurs  8:05 ", 3 * 1_440 + 485),
    ],
)
def test_days_and_times(text, minute):
    assert parse_time(text) == minute


def test_now_is_by_the_own_clock():
    before = minute_of_week(datetime.datetime.now())
    assert (parse_time("now") - before) % 10_080 <= 1


@pytest.mark.parametrize("text", ["", "Fri", "21:00", "Fr 21:00", "Fri 24:00", "Fri 9:60"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="such as 'Fri 21:00' for --open-at; got"):
        parse_time(text)


def test_minute_of_week_begins_on_monday():
    assert minute_of_week(datetime.datetime(2026, 11, 23, 0, 0)) == 0
    assert minute_of_week(datetime.datetime(2026, 11, 29, 23, 59)) == 10_079
