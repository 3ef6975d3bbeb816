"""Example users: what they did, what they are recommended, and why."""

from typing import Any

import numpy as np

from components import examples
from components.evaluator.exported import ExportedModel
from models import features, metrics
from models.tables import Bag, Interactions

_NUM_USERS = 20
_NUM_PLACES = 5
_NUM_HISTORY = 6
_NUM_CATEGORIES = 4


class Places:
    """What people know of businesses: names, cities, categories."""

    def __init__(self, star: examples.StarSchema):
        """Reads them."""
        self._ids = star.business_ids
        labels = star.read_labels(
            features.BUSINESS_NAME, features.BUSINESS_CITY, features.BUSINESS_CATEGORIES
        )
        self._names = labels[features.BUSINESS_NAME]
        self._cities = labels[features.BUSINESS_CITY]
        self._categories = labels[features.BUSINESS_CATEGORIES]

    def tell(self, row: int) -> dict[str, Any]:
        """Describes a business; its id stands for a missing name."""
        return {
            "name": _first(self._names, row) or self._ids[row].decode("utf-8", "replace"),
            "city": _first(self._cities, row),
            "categories": self.categories(row)[:_NUM_CATEGORIES],
        }

    def categories(self, row: int) -> list[str]:
        """Lists the categories of a business."""
        return [label.decode("utf-8", "replace") for label in self._categories.row(row)]


def _first(bag: Bag, row: int) -> str:
    values = bag.row(row)
    return values[0].decode("utf-8", "replace") if len(values) else ""


def choose_users(histories: Bag, test: Interactions) -> np.ndarray:
    """Chooses test users from those who did nothing yet to those who did most, evenly spaced.

    Args:
      histories: What each user did in training.
      test: Interactions of the test split.

    Returns:
      At most 20 user rows, by the length of their history.
    """
    users = np.unique(test.user_rows)
    ordered = users[np.argsort(histories.lengths()[users], kind="stable")]
    places = np.linspace(0, len(ordered) - 1, min(_NUM_USERS, len(ordered))).round().astype(int)
    return ordered[places]


def tell_users(
    model: ExportedModel, star: examples.StarSchema, fitted: Interactions, test: Interactions
) -> list[dict[str, Any]]:
    """Describes example users.

    Args:
      model: The exported model.
      star: Names and ids.
      fitted: What the model learnt from.
      test: Interactions of the test split.

    Returns:
      By user, `user_id`, `num_history`, the latest of their `history` with stars, and
      `recommendations`: each with predicted `stars`, whether they went there in the `test` split,
      and `why`: the business of their history whose embedding is `nearest`, by cosine, and the
      categories that it `shares`.
    """
    if not len(test):
        return []
    places = Places(star)
    num_users = len(star.user_ids)
    histories = fitted.histories(num_users)
    by_user = Bag.from_pairs(fitted.user_rows, np.arange(len(fitted)), num_users)
    visited = test.histories(num_users)
    users = choose_users(histories, test)
    lists = metrics.top_k(
        model.queries(users), model.candidates, _NUM_PLACES, histories.take(users)
    )
    told = []
    for user, listed in zip(users, lists, strict=True):
        rows = by_user.row(user)
        latest = rows[np.argsort(-fitted.timestamps_seconds[rows], kind="stable")][:_NUM_HISTORY]
        listed = listed[listed >= 0]
        asked = Interactions(np.full(len(listed), user), listed, np.zeros(len(listed)))
        told.append({
            "user_id": star.user_ids[user].decode("utf-8", "replace"),
            "num_history": len(rows),
            "history": [
                {**places.tell(fitted.business_rows[row]), "stars": float(fitted.stars[row])}
                for row in latest
            ],
            "recommendations": [
                {
                    **places.tell(row),
                    "stars": round(float(stars), 2),
                    "visited_in_test": bool(row in visited.row(user)),
                    "why": _why(model, places, row, histories.row(user)),
                }
                for row, stars in zip(listed, model.rate(asked), strict=True)
            ],
        })
    return told


def _why(
    model: ExportedModel, places: Places, row: int, history: np.ndarray
) -> dict[str, Any] | None:
    """Finds what in a history is most like a business; None without a history."""
    if not len(history):
        return None
    weights = model.tables.score_weights
    own, others = model.candidates[row] * weights, model.candidates[history] * weights
    norms = np.linalg.norm(others, axis=1) * np.linalg.norm(own)
    likeness = others @ own / np.maximum(norms, 1e-12)
    nearest = history[likeness.argmax()]
    shared = [label for label in places.categories(row) if label in places.categories(nearest)]
    return {
        "nearest": places.tell(nearest)["name"],
        "cosine": round(float(likeness.max()), 3),
        "shares": shared[:_NUM_CATEGORIES],
    }
