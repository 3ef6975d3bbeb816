"""Gradient-boosted trees on cross-fitted aggregates and covariates."""

import dataclasses

import lightgbm
import numpy as np

from models import machine
from models.baselines.choosing import choose, clip
from models.baselines.interface import Baseline, BaselineData, Cost, Fitted
from models.baselines.rating_features import RatingFeatures
from models.baselines.scorers import TreeScorer
from models.baselines.tree_ensemble import TreeEnsemble
from models.bias import choose_shrinkages
from models.tables import Interactions

_MAX_TREES = 1_000
# Trees without progress on eval that end a trial.
_PATIENCE = 30
# Trials differ in how many ratings a leaf holds, so no column may be left out for that.
_BINNING = {"verbosity": -1, "feature_pre_filter": False}
# Measured: of one value in one tree; of preparing one value.
_SECONDS_PER_VALUE, _SECONDS_PER_PREPARED = 2e-9, 2e-7


@dataclasses.dataclass(frozen=True)
class TreeOptions:
    """What trees are tried with.

    Attributes:
      num_leaves: Of a tree.
      min_ratings: Ratings that a leaf holds at least.
    """

    num_leaves: int
    min_ratings: int


# Tried in this order.
TREE_OPTIONS = (TreeOptions(15, 200), TreeOptions(7, 50), TreeOptions(31, 100), TreeOptions(63, 20))


class BoostedTrees:
    """Predicts stars from what is known of both sides.

    Source: Ke et al., "LightGBM: a highly efficient gradient boosting decision tree" (2017).
    """

    def __init__(self, booster: lightgbm.Booster, features: RatingFeatures, known: Interactions):
        """Prepares the features of pairs.

        Args:
          booster: The trees.
          features: Builds what they read.
          known: The ratings that aggregates are taken from.
        """
        self._booster = booster
        self._features, self._known = features, known
        self._features_of = features.from_all_of(known)

    def rate(self, user_rows: np.ndarray, business_rows: np.ndarray) -> np.ndarray:
        """Predicts the stars of pairs: see `RatingModel`."""
        if not len(user_rows):
            return np.zeros(0)
        return clip(np.asarray(self._booster.predict(self._features_of(user_rows, business_rows))))

    def embeddings(self, num_users: int, num_businesses: int) -> tuple[np.ndarray, np.ndarray]:
        """Lays out what the trees read: the features of a pair are the sum of both its rows."""
        return self._features.sides(self._known, num_users, num_businesses)

    def pair_scorer(self) -> TreeScorer:
        """Makes what predicts from embeddings: see `PairScores`."""
        return TreeScorer(TreeEnsemble(self._booster.dump_model()))


def _settings(options: TreeOptions, num_ratings: int, seed: int) -> dict:
    return {
        "objective": "regression",
        "num_leaves": options.num_leaves,
        "min_data_in_leaf": options.min_ratings,
        "learning_rate": 0.1,
        "feature_fraction": 0.8,
        # Of a single rating there is no share.
        "bagging_fraction": 0.8 if num_ratings > 1 else 1.0,
        "bagging_freq": 1,
        "lambda_l2": 10.0,
        "cat_smooth": 50.0,
        "seed": seed,
        # All three are needed to get the same trees from the same ratings.
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": machine.num_cores(),
        "verbosity": -1,
    }


def _cost(data: BaselineData) -> Cost:
    width = RatingFeatures.width(data.users, data.businesses)
    values = float(len(data.fitted)) * width
    trees = _MAX_TREES // 3  # As many as it takes to stop, usually.
    return Cost(
        # Features in single precision, their bins, and the sums that they come from.
        num_bytes=12 * values,
        seconds=(_SECONDS_PER_PREPARED + _SECONDS_PER_VALUE * trees) * values,
    )


def _fit(data: BaselineData) -> Fitted[BoostedTrees]:
    shrinkages = choose_shrinkages(data.train, data.held_out, data.num_users, data.num_businesses)
    features = RatingFeatures(data.users, data.businesses, shrinkages, data.seed)

    def dataset(interactions: Interactions) -> lightgbm.Dataset:
        return lightgbm.Dataset(
            features.of_training_rows(interactions),
            interactions.stars,
            categorical_feature=features.categorical,
            params=_BINNING,
        )

    train, held_out = dataset(data.train), data.held_out
    num_trees = dict.fromkeys(TREE_OPTIONS, 100)  # Where there is nothing to stop on.
    if len(held_out):
        eval_rows = features.from_all_of(data.train)(held_out.user_rows, held_out.business_rows)
        valid = lightgbm.Dataset(eval_rows, held_out.stars, reference=train, params=_BINNING)

    def loss(options: TreeOptions) -> float:
        if not len(held_out):
            return 0.0
        booster = lightgbm.train(
            _settings(options, len(data.train), data.seed),
            train,
            _MAX_TREES,
            [valid],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        num_trees[options] = max(booster.best_iteration, 1)
        return booster.best_score["valid_0"]["l2"] ** 0.5

    chosen = choose(TREE_OPTIONS, loss, data.tuning_seconds)
    booster = lightgbm.train(
        _settings(chosen.value, len(data.fitted), data.seed),
        dataset(data.fitted),
        num_trees[chosen.value],
    )
    return Fitted(BoostedTrees(booster, features, data.fitted), chosen.loss)


LIGHTGBM = Baseline(_cost, _fit)
