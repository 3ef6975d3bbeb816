"""`t2rec query`: asks a server or an export, and prints lists."""

import argparse
import dataclasses
import os
from collections.abc import Sequence

from models.errors import ConfigError
from pipeline import console, filter_options
from serving import client
from serving.errors import ServingError

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
    filters = filter_options.from_arguments(args)
    lists = asked.recommend(users, **dataclasses.asdict(filters))
    unknown = _unknown(asked, users)
    names = _names(asked, lists)
    for user, recommendations in zip(users, lists, strict=True):
        rows = [
            [
                str(rank), found.business_id, names[found.business_id],
                f"{found.score:.4f}", f"{found.rating:.2f}",
            ]
            for rank, found in enumerate(recommendations, 1)
        ]  # fmt: skip
        console.say(f"for user {user}{', a newcomer to the model' * (user in unknown)}")
        console.say(
            console.table(_COLUMNS, rows)
            if rows
            else "no business passes all filters; a category or city is meant as the data spells it"
        )


def _names(
    asked: client.Client, lists: Sequence[Sequence[client.Recommendation]]
) -> dict[str, str]:
    """Looks up the names of all that is in lists, by id."""
    ids = sorted({found.business_id for one in lists for found in one})
    return {id_: place.name for id_, place in zip(ids, asked.describe(ids), strict=True)}


def _unknown(asked: client.Client, users: list[str]) -> set[str]:
    """Finds users of whom a model knows no more than of nobody, whose id is empty."""
    try:
        embeddings = asked.predict("embed_query", {"user_id": [*users, ""]})["embedding"]
    except ServingError:  # Not every model has a query tower.
        return set()
    *known, nobody = map(list, embeddings)
    return {user for user, one in zip(users, known, strict=True) if one == nobody}


def _any_user(model: str) -> str:
    """Returns the id of an export's first user."""
    from models.exported_tables import USER_IDS_FILE
    from serving import model_folders

    path = os.path.join(model_folders.find_version(model), USER_IDS_FILE)
    with open(path, encoding="utf-8") as file:
        return file.readline().rstrip("\n")
