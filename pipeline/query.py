"""`t2rec query`: asks a server or an export, and prints lists."""

import argparse
import datetime
import os
import re

from models import features
from models.errors import ConfigError
from pipeline import console
from serving import client
from serving.errors import ServingError
from serving.questions import minute_of_week

_COLUMNS = ["rank", "business_id", "name", "score", "predicted stars"]


def show(args: argparse.Namespace) -> None:
    """Prints a list for each user.

    Args:
      args: Of the command line; see `pipeline.cli`.

    Raises:
      ConfigError: If there is nobody to ask for, or a time can't be read.
    """
    asked: client.Client
    if args.exclude and not args.user_ids:
        raise ConfigError(
            "Expected a USER_ID; got none, as --exclude takes all ids behind it. Put USER_ID first."
        )
    if args.server:
        asked = client.connect(
            args.server, args.model_name, args.timeout_seconds, authority=args.tls_authority
        )
        if not args.user_ids:
            raise ConfigError("Expected a USER_ID with --server; got none. Name one or more.")
    else:
        asked = client.LocalClient(args.model)
    users = args.user_ids or [_any_user(args.model)]
    *near, within_km = args.near or [0.0]
    lists = asked.recommend(
        users,
        k=args.k,
        exclude_seen=args.exclude_seen,
        exclude_business_ids=args.exclude,
        category=args.category,
        city=args.city,
        open_at_minute=parse_time(args.open_at) if args.open_at else None,
        near_degrees=tuple(near) or None,
        within_km=within_km,
        min_stars=args.min_stars,
        retrieval_weight=args.retrieval_weight,
        rating_weight=args.rating_weight,
        shortlist=args.shortlist,
    )
    for user, recommendations in zip(users, lists, strict=True):
        names = _names(asked, [found.business_id for found in recommendations])
        rows = [
            [str(rank), found.business_id, name, f"{found.score:.4f}", f"{found.rating:.2f}"]
            for rank, (found, name) in enumerate(zip(recommendations, names, strict=True), 1)
        ]
        console.say(f"for user {user}")
        console.say(
            console.table(_COLUMNS, rows)
            if rows
            else "no business passes all filters; a category or city is meant as the data spells it"
        )


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


def _names(asked: client.Client, business_ids: list[str]) -> list[str]:
    """Looks up names; an export of an earlier release has none."""
    try:
        return [place.name for place in asked.describe(business_ids)]
    except ServingError:
        return [""] * len(business_ids)


def _any_user(model: str) -> str:
    """Returns the id of an export's first user."""
    from serving import loader

    path = os.path.join(loader.find_version(model), "assets", "user_ids.txt")
    with open(path, encoding="utf-8") as file:
        return file.readline().rstrip("\n")
