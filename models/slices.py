"""Slices of a split: cold and warm, by activity, by city, by category; each a named mask."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from models.slice_names import COLD_BUSINESS, COLD_USER, WARM_BUSINESS, WARM_USER
from models.tables import Interactions

_NUM_DECILES = 10
# Of cities and of categories, the ones with the most test interactions.
MAX_LABELS = 10


@dataclasses.dataclass(frozen=True)
class Known:
    """What the models had learnt from when they were tested.

    Attributes:
      user_counts: `[num_users]` array: interactions of each user that models were fitted on.
      business_counts: `[num_businesses]` array, likewise.
    """

    user_counts: np.ndarray
    business_counts: np.ndarray

    @classmethod
    def from_interactions(
        cls, fitted: Interactions, num_users: int, num_businesses: int
    ) -> "Known":
        """Counts the interactions that models were fitted on."""
        return cls(
            np.bincount(fitted.user_rows, minlength=num_users),
            np.bincount(fitted.business_rows, minlength=num_businesses),
        )


@dataclasses.dataclass(frozen=True)
class Labels:
    """Which businesses carry a label, for slices.

    Attributes:
      cities: By city, the rows of its businesses.
      categories: By category, the rows of its businesses.
    """

    cities: Mapping[bytes, np.ndarray] = dataclasses.field(default_factory=dict)
    categories: Mapping[bytes, np.ndarray] = dataclasses.field(default_factory=dict)


def user_slices(known: Known, test_users: np.ndarray) -> dict[str, np.ndarray]:
    """Divides users by what is known of them.

    Args:
      known: What models were fitted on.
      test_users: `[num_test_users]` integer array: rows of the users in question.

    Returns:
      By name, a `[num_users]` bool array. `activity=M-N` are users with M to N interactions, a
      tenth of the warm test users each, unless many have the same number.
    """
    counts = known.user_counts
    masks = {COLD_USER: counts == 0, WARM_USER: counts > 0}
    warm = counts[test_users][counts[test_users] > 0]
    if len(warm):
        shares = np.arange(1, _NUM_DECILES + 1) / _NUM_DECILES
        ends = np.unique(np.quantile(warm, shares, method="inverted_cdf").astype(int))
        starts = [int(warm.min()), *(ends[:-1] + 1)]
        for low, high in zip(starts, ends, strict=True):
            name = f"activity={low}-{high}" if low < high else f"activity={low}"
            masks[name] = (counts >= low) & (counts <= high)
    return masks


def business_slices(
    known: Known, labels: Labels, test_businesses: np.ndarray
) -> dict[str, np.ndarray]:
    """Divides businesses by what is known of them.

    Args:
      known: What models were fitted on.
      labels: Cities and categories.
      test_businesses: `[num_test_interactions]` integer array: the largest labels are those with
        the most of these.

    Returns:
      By name, a `[num_businesses]` bool array; a category overlaps with others.
    """
    counts = known.business_counts
    masks = {COLD_BUSINESS: counts == 0, WARM_BUSINESS: counts > 0}
    visits = np.bincount(test_businesses, minlength=len(counts))
    for family, rows_of in (("city", labels.cities), ("category", labels.categories)):
        sizes = {label: int(visits[rows].sum()) for label, rows in rows_of.items()}
        largest = sorted(sizes, key=lambda label: (-sizes[label], label))[:MAX_LABELS]
        for label in largest:
            mask = np.zeros(len(counts), bool)
            mask[rows_of[label]] = True
            masks[f"{family}={_printable(label)}"] = mask
    return masks


def _printable(label: bytes) -> str:
    return re.sub(r"\s+", " ", label.decode("utf-8", "replace")).strip() or "(none)"
