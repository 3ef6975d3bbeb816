"""Options of the commands that make lists: what these may hold, and how they are ordered."""

import argparse
import datetime
import re

from models import features
from models.errors import ConfigError
from serving.questions import Filters, minute_of_week


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a command's parser."""
    parser.add_argument("-k", "--k", type=int, default=10, help="businesses a user")
    parser.add_argument("--exclude-seen", action="store_true", help="leave out rated businesses")
    parser.add_argument("--exclude", metavar="BUSINESS_ID", nargs="+", default=[])
    parser.add_argument("--category", default="")
    parser.add_argument("--city", default="")
    parser.add_argument(
        "--open-at", metavar="WHEN",
        help="a day and a time of the place: 'Fri 21:00', or now: those of this machine's clock",
    )  # fmt: skip
    parser.add_argument(
        "--near", metavar=("LATITUDE", "LONGITUDE", "KM"), type=float, nargs=3,
        help="degrees, and how far from there at most",
    )  # fmt: skip
    parser.add_argument("--min-stars", metavar="STARS", type=float, default=0.0)
    parser.add_argument("--retrieval-weight", metavar="W", type=float, help="of affinity")
    parser.add_argument("--rating-weight", metavar="W", type=float, help="of predicted stars")
    parser.add_argument(
        "--shortlist", metavar="N", type=int, default=0,
        help="rank the best N again, by predicted stars",
    )  # fmt: skip


def from_arguments(args: argparse.Namespace) -> Filters:
    """Makes filters of a command's arguments.

    Raises:
      ConfigError: If a time can't be read, or a distance is none.
    """
    if args.near and not args.near[2] > 0:
        raise ConfigError(
            f"Expected a distance over 0 km as the third number of --near; got {args.near[2]:g}. "
            "Correct it, or leave --near out."
        )
    return Filters(
        k=args.k,
        exclude_seen=args.exclude_seen,
        exclude_business_ids=args.exclude,
        category=args.category,
        city=args.city,
        open_at_minute=parse_time(args.open_at) if args.open_at else None,
        near_degrees=tuple(args.near[:2]) if args.near else None,
        within_km=args.near[2] if args.near else 0.0,
        min_stars=args.min_stars,
        retrieval_weight=args.retrieval_weight,
        rating_weight=args.rating_weight,
        shortlist=args.shortlist,
    )


def list_given(args: argparse.Namespace) -> list[str]:
    """Lists the names of the options that are not left at their defaults."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    defaults = vars(parser.parse_args([]))
    given = [name for name, default in defaults.items() if getattr(args, name) != default]
    return [f"--{name.replace('_', '-')}" for name in given]


def parse_time(text: str) -> int:
    """Reads a time of the week.

    Args:
      text: `now`, or a day's English name, at least three letters of it, and a time: `Fri 21:00`.

    Returns:
      Minutes since Monday began.

    Raises:
      ConfigError: If it is neither.
    """
    if text.lower() == "now":
        return minute_of_week(datetime.datetime.now())
    found = re.fullmatch(r"([a-z]{3,9})\s+(\d{1,2}):(\d\d)", text.strip().lower())
    if found:
        days = [day for day in features.DAYS if day.lower().startswith(found[1])]
        hour, minute = int(found[2]), int(found[3])
        if days and hour < 24 and minute < 60:
            return features.DAYS.index(days[0]) * 1_440 + hour * 60 + minute
    raise ConfigError(
        f"Expected `now` or a day and a time such as 'Fri 21:00' for --open-at; got {text!r}."
    )
