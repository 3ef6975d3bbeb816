import argparse
import datetime
import shlex

import pytest

from models.errors import ConfigError
from pipeline.filter_options import add_arguments, from_arguments, list_given, parse_time
from serving.questions import Filters, minute_of_week


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


def _parsed(text=""):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(shlex.split(text))


def test_what_is_left_out_asks_for_nothing():
    assert from_arguments(_parsed()) == Filters(exclude_business_ids=[])
    assert list_given(_parsed()) == []


def test_every_option_reaches_the_filters():
    args = _parsed(
        "-k 3 --exclude-seen --exclude a b --category Pizza --city Reno --near 36.1 -115 2 "
        "--open-at 'Mon 0:05' --min-stars 4 --retrieval-weight 0.5 --rating-weight 0 --shortlist 9"
    )
    assert from_arguments(args) == Filters(
        k=3,
        exclude_seen=True,
        exclude_business_ids=["a", "b"],
        category="Pizza",
        city="Reno",
        open_at_minute=5,
        near_degrees=(36.1, -115.0),
        within_km=2.0,
        min_stars=4.0,
        retrieval_weight=0.5,
        rating_weight=0.0,
        shortlist=9,
    )
    assert list_given(args) == [
        *("--k", "--exclude-seen", "--exclude", "--category", "--city", "--open-at", "--near"),
        *("--min-stars", "--retrieval-weight", "--rating-weight", "--shortlist"),
    ]


@pytest.mark.parametrize("km", ["0", "-1", "nan"])
def test_a_distance_of_nothing_is_refused(km):
    with pytest.raises(ConfigError, match="over 0 km as the third number of --near; got"):
        from_arguments(_parsed(f"--near 36.1 -115 {km}"))
