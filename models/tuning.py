"""The trials that settle on eval what the options leave open."""

import itertools
from collections.abc import Mapping
from typing import Any

from models.options import ModelOptions, Objective

_AUTO = "auto"

# What is tried, the likeliest first. Who visited what tells much where users rate much, and
# misleads where they do not; a softmax over a small or dense catalogue wants to be softer.
RATING_VALUES: Mapping[str, tuple[Any, ...]] = {"taste_dim": (8, 0)}
RETRIEVAL_VALUES: Mapping[str, tuple[Any, ...]] = {"temperature": (0.12, 0.25)}


def list_trials(options: ModelOptions) -> list[ModelOptions]:
    """Lists the options to try, in order.

    The two blocks share no variables, so that one trial tries values of both; where one has no
    more of them, its task is switched off.

    Args:
      options: What the run was told; what is `auto` is tried.

    Returns:
      Options without `auto`, at least one.
    """
    rating = _combine(options, RATING_VALUES) if options.objective.rating else []
    retrieval = _combine(options, RETRIEVAL_VALUES) if options.objective.retrieval else []
    first = _first(options, RATING_VALUES) | _first(options, RETRIEVAL_VALUES)
    return [
        options.model_copy(
            update={
                **first,
                **(for_rating or {}),
                **(for_retrieval or {}),
                "objective": Objective(
                    rating=options.objective.rating if for_rating is not None else 0.0,
                    retrieval=options.objective.retrieval if for_retrieval is not None else 0.0,
                ),
            }
        )
        for for_rating, for_retrieval in itertools.zip_longest(rating, retrieval)
    ]


def _combine(options: ModelOptions, values: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Combines the values of what is `auto`; one empty change if nothing is."""
    keys = [key for key in values if getattr(options, key) == _AUTO]
    return [
        dict(zip(keys, chosen, strict=True))
        for chosen in itertools.product(*(values[key] for key in keys))
    ]


def _first(options: ModelOptions, values: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
    """Returns the first value of what is `auto`."""
    return {key: tried[0] for key, tried in values.items() if getattr(options, key) == _AUTO}
