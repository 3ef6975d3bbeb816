"""Requests that any export must answer, made of its own signatures and ids."""

import dataclasses
import os
from typing import Any

from tfx.dsl.io import fileio

from models.exported_tables import BUSINESS_IDS_FILE, USER_IDS_FILE
from serving.loader import ServedModel
from serving.signatures import Signature

# An id that no data set has: whoever it is gets a newcomer's answer.
NOBODY = "nobody-knows-this-id"
_NUM_KNOWN = 3
_MAX_ASSET_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class CannedRequest:
    """A call to a signature.

    Attributes:
      signature: Its name.
      inputs: By name, columns.
    """

    signature: str
    inputs: dict[str, Any]


def canned_requests(model: ServedModel) -> list[CannedRequest]:
    """Makes two requests to each signature: with what is required, and with options.

    Args:
      model: The export.

    Returns:
      Requests; those for users and businesses name some of the export's own and an unknown one.
    """
    ids = {
        "user_id": _some_ids(model.path, USER_IDS_FILE),
        "business_id": _some_ids(model.path, BUSINESS_IDS_FILE),
    }
    made = []
    for name, signature in model.signatures.items():
        plain = _required(signature, ids)
        made.append(CannedRequest(name, plain))
        if options := _options(signature, ids["business_id"]):
            made.append(CannedRequest(name, {**plain, **options}))
    return made


def _required(signature: Signature, ids: dict[str, list[str]]) -> dict[str, Any]:
    known = {name: ids[name] for name in signature.inputs if name in ids}
    others = signature.example()
    return {**{n: a.tolist() for n, a in others.items() if n not in known}, **known}


def _options(signature: Signature, business_ids: list[str]) -> dict[str, Any]:
    options = {
        "k": [3],
        "exclude_seen": [True],
        "exclude_business_id": [business_ids[:2]],
        "history_business_id": [business_ids],
        "history_stars": [[5.0, *[0.0] * (len(business_ids) - 1)]],
    }
    return {name: options[name] for name in signature.inputs if name in options}


def _some_ids(model_path: str, ids_file: str) -> list[str]:
    """Returns the first ids of a list, as many of any list, and one that isn't there."""
    path = os.path.join(model_path, ids_file)
    if not fileio.exists(path):
        return [NOBODY] * (_NUM_KNOWN + 1)
    with fileio.open(path, "rb") as file:
        lines = file.read(_MAX_ASSET_BYTES).split(b"\n")[:-1]
    known = [line.decode("utf-8", "replace") for line in lines[:_NUM_KNOWN]] or [NOBODY]
    return [known[number % len(known)] for number in range(_NUM_KNOWN)] + [NOBODY]
