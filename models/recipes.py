"""What may be tried to settle on eval what the options leave open.

A recipe that is best on one data set fails on the next: how sharp the softmax should be, whether
users are more than their history, and whether covariates help, depends on how dense the data is.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.options import AUTO, ModelOptions, TrainingOptions
from models.tables import EntityTable

_LOG = logging.getLogger("t2rec")

RATING, RETRIEVAL = "rating", "retrieval"

# Values of the fields that may be `auto`, by field.
Recipe = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Space:
    """The recipes that may be tried for a task, and how they are judged.

    Attributes:
      recipes: What is tried first, the likeliest at the head; at least one.
      grids: Values, in order, of fields that are then varied one by one.
      whole_grids: The same of fields that are varied last, in whole runs.
      handicap: What a place along a grid, away from `recipes`, takes off a score, as a share of it.
    """

    recipes: Sequence[Recipe]
    grids: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    whole_grids: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    handicap: float = 0.0

    def narrowed(self, model_options: ModelOptions, options: TrainingOptions) -> "Space":
        """Narrows the recipes to the fields that are `auto`; equal ones count once.

        Returns:
          A space of at least one recipe; of an empty one if nothing is open.
        """
        told = {**dict(options), **dict(model_options)}
        narrowed: list[Recipe] = []
        for recipe in self.recipes:
            free = {key: value for key, value in recipe.items() if told[key] == AUTO}
            if free not in narrowed:
                narrowed.append(free)
        return dataclasses.replace(self, recipes=narrowed)

    def kind(self, recipe: Recipe) -> frozenset[tuple[str, Any]]:
        """Returns what recipes have in common that differ in fields with a grid only."""
        return frozenset((key, value) for key, value in recipe.items() if key not in self._all())

    def places_away(self, recipe: Recipe) -> int:
        """Counts the places along grids between a recipe and the nearest that it may come from."""

        def places(start: Recipe) -> int:
            return sum(
                abs(values.index(recipe[field]) - values.index(start[field]))
                for field, values in self._all().items()
                if field in recipe
            )

        kind = self.kind(recipe)
        return min((places(one) for one in self.recipes if self.kind(one) == kind), default=0)

    def judge(self, recipe: Recipe, score: float) -> float:
        """Returns what a recipe with this score is compared by, the more the better."""
        lost = self.handicap * self.places_away(recipe)
        return score - lost * abs(score) if lost else score

    def move(self, recipe: Recipe, field: str, by: int) -> Recipe | None:
        """Moves a field of a recipe along its grid, if it is open and the grid goes on."""
        values = self._all()[field]
        if field not in recipe or not 0 <= values.index(recipe[field]) + by < len(values):
            return None
        return {**recipe, field: values[values.index(recipe[field]) + by]}

    def _all(self) -> dict[str, Sequence[Any]]:
        """Returns the grids of both kinds."""
        return {**self.grids, **self.whole_grids}


# What all recipes for retrieval have in common.
_COMMON: Recipe = {
    "embedding_dim": 64,
    "candidate_covariates": 0.3,
    "query_covariates": 0.0,
}
# Users with few visits: their history is all there is, and a soft softmax generalises.
_SPARSE: Recipe = {
    **_COMMON,
    "temperature": 0.25,
    "history_power": 0.25,
    "user_embedding": False,
    "retrieval_learning_rate": 1.2e-2,
}
# Users with many visits deserve a vector of their own.
_DENSE: Recipe = {
    **_COMMON,
    "temperature": 0.12,
    "history_power": 0.5,
    "user_embedding": True,
    "retrieval_learning_rate": 6e-3,
}
# Handicaps: less than so much is noise, and moves by noise add up. (On two real sets, paired
# standard errors of lists are 0.7 and 1.4 %.)
SPACES: dict[str, Space] = {
    RATING: Space(
        # Who visited what tells much where users rate much, and misleads where they do not.
        recipes=(
            {"taste_dim": 8, "rating_learning_rate": 2e-3, "rating_epochs": 8},
            {"taste_dim": 0, "rating_learning_rate": 2e-3, "rating_epochs": 8},
        ),
        grids={"rating_learning_rate": (1e-3, 2e-3, 4e-3, 8e-3), "rating_epochs": (8, 16, 32)},
        handicap=0.0005,
    ),
    RETRIEVAL: Space(
        recipes=(
            _SPARSE,
            _DENSE,
            {**_SPARSE, "query_covariates": 0.3},
            {**_DENSE, "user_embedding": False},
        ),
        # The rate stays: short runs flatter high ones.
        grids={
            "temperature": (0.08, 0.12, 0.18, 0.25, 0.35),
            "query_covariates": (0.0, 0.3, 1.0),
            "history_power": (0.0, 0.25, 0.5),
            "candidate_covariates": (0.0, 0.3, 1.0),
        },
        # Short runs flatter few coordinates.
        whole_grids={"embedding_dim": (32, 64, 128)},
        handicap=0.005,
    ),
}
MAX_EMBEDDING_DIM = max(SPACES[RETRIEVAL].whole_grids["embedding_dim"])
# Of the block in closed form beside the direction, in ascending order.
LOW_PASS_DIMS = (16, 32, 64, 128, 256)
# How far users who visited much are held down there.
LOW_PASS_USER_EXPONENTS = (0.25, 0.5)


def leave_out_flat(
    model_options: ModelOptions, users: EntityTable, businesses: EntityTable
) -> ModelOptions:
    """Leaves covariates out of retrieval where they are the same for everybody.

    They would be tried in vain, and cost a quarter of each step over a large catalogue.

    Args:
      model_options: What is told here stays.
      users: All users.
      businesses: All businesses, with content coordinates.
    """
    flat = {
        "query_covariates": not _varies(users.numeric),
        "candidate_covariates": not _varies(businesses.numeric) and not _varies(businesses.content),
    }
    left_out = [
        key for key, is_flat in flat.items() if is_flat and getattr(model_options, key) == AUTO
    ]
    if left_out:
        _LOG.info("covariates are all the same: %s 0", ", ".join(left_out))
    return model_options.model_copy(update=dict.fromkeys(left_out, 0.0))


def _varies(columns: np.ndarray) -> bool:
    return bool(len(columns)) and bool((columns != columns[0]).any())


def apply_recipe(
    recipe: Recipe, model_options: ModelOptions, options: TrainingOptions
) -> tuple[ModelOptions, TrainingOptions]:
    """Fills the open fields in."""
    of_model = {key: value for key, value in recipe.items() if key in ModelOptions.model_fields}
    of_training = {key: value for key, value in recipe.items() if key not in of_model}
    return (
        model_options.model_copy(update=of_model),
        options.model_copy(update=of_training),
    )


def write_hyperparameter(value: Any) -> Any:
    """Writes an option's value as tuners take it: widths as `64-64`."""
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def read_hyperparameters(values: Mapping[str, Any]) -> Recipe:
    """Reads values that `write_hyperparameter` wrote, by the names of the options."""
    widths = values.get("tower_widths")
    read = {} if widths is None else {"tower_widths": tuple(map(int, widths.split("-")))}
    return {**values, **read}


def in_words(recipe: Recipe, first: Recipe | None = None) -> str:
    """Writes a recipe, or in what it differs from the one that was tried first."""
    parts = [
        f"{name} {float(f'{value:.3g}') if isinstance(value, float) else value}"
        for name, value in recipe.items()
        if first is None or first.get(name) != value
    ]
    if parts:
        return ", ".join(parts)
    return "the first recipe again" if first else "what the options say"
