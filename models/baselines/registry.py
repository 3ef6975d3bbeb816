"""The names of all baselines, a line each.

The places are strings so that a configuration is checked without TensorFlow or any other library.
"""

import pkgutil
from collections.abc import Mapping

RATING: Mapping[str, str] = {
    "global_mean": "models.baselines.global_mean:GLOBAL_MEAN",
    "bias": "models.baselines.regularised_bias:BIAS",
    "ridge": "models.baselines.ridge:RIDGE",
    "lightgbm": "models.baselines.boosted_trees:LIGHTGBM",
    "svd": "models.baselines.factorisation:SVD",
    "svdpp": "models.baselines.factorisation:SVDPP",
    "coclustering": "models.baselines.coclustering:COCLUSTERING",
    "knn_user": "models.baselines.rating_neighbours:KNN_USER",
    "knn_item": "models.baselines.rating_neighbours:KNN_ITEM",
}
RETRIEVAL: Mapping[str, str] = {
    "popularity": "models.baselines.popularity:POPULARITY",
    "item_knn": "models.baselines.item_neighbours:ITEM_KNN",
    "als": "models.baselines.implicit_factors:ALS",
    "bpr": "models.baselines.implicit_factors:BPR",
    "ease": "models.baselines.ease:EASE",
    "low_pass": "models.baselines.low_pass:LOW_PASS",
}


def load(place: str):
    """Imports a baseline.

    Args:
      place: A value of `RATING` or `RETRIEVAL`.

    Returns:
      The `models.baselines.interface.Baseline`.
    """
    return pkgutil.resolve_name(place)
