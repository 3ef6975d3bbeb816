"""Looks at the eval split: what training and tuning choose by."""

import copy
import dataclasses
import math

import numpy as np

from models import features, metrics
from models.rating_model import RatingModel
from models.retrieval_model import RetrievalModel
from models.tables import Interactions, new_visits

# Places of the lists that are judged. The eval split holds few visits a user: more of them count in
# fifty places than in twenty, which tells models apart that twenty leave to chance.
DEPTH = 50
# Of the eval ratings, at most: a look at millions would cost more than the steps before it.
_MAX_RATINGS = 200_000


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at the eval split during a run of one task.

    Attributes:
      step: Steps trained so far.
      loss: Training loss at that step.
      score: What is chosen by, the more the better: minus the RMSE in stars, or the NDCG@50.
      metrics: `rmse`; or `recall@20`, `ndcg@20` and `ndcg@50`.
    """

    step: int
    loss: float
    score: float
    metrics: dict[str, float]


class EvalSplit:
    """Measures a model on the eval split.

    Attributes:
      ratings: Whose stars are predicted: all of the split, or a sample of very many.
      seen: What the users whose lists are ranked visited in training, as rows of businesses.
    """

    def __init__(
        self,
        num_users: int,
        train_set: Interactions,
        eval_set: Interactions,
        max_users: int,
        seed: int,
    ):
        """Prepares the lists to rank.

        Args:
          num_users: Rows of the users table.
          train_set: What the model learns from; left out of the lists.
          eval_set: What it is measured on.
          max_users: Users whose lists are ranked, at most.
          seed: Seed of their choice, and of that of ratings.
        """
        self.ratings = eval_set
        if len(eval_set) > _MAX_RATINGS:
            rng = np.random.default_rng(seed)
            some = rng.choice(len(eval_set), _MAX_RATINGS, replace=False)
            self.ratings = eval_set[np.sort(some)]
        relevant = new_visits(eval_set, train_set, num_users)
        users = np.flatnonzero(relevant.lengths())
        if len(users) > max_users:
            rng = np.random.default_rng(seed)
            users = np.sort(rng.choice(users, max_users, replace=False))
        self._users = users
        self._relevant = relevant.take(users)
        self.seen = train_set.histories(num_users).take(users)

    def thinned(self, max_users: int) -> "EvalSplit":
        """Returns the same with the lists of at most so many users."""
        thinned = copy.copy(self)
        some = np.arange(0, len(self._users), max(1, math.ceil(len(self._users) / max_users)))
        thinned._users = self._users[some]
        thinned._relevant, thinned.seen = self._relevant.take(some), self.seen.take(some)
        return thinned

    def predict(self, model: RatingModel) -> np.ndarray:
        """Returns the `[num_ratings]` predicted stars, not clipped."""
        candidates = model.embed_candidates()
        users, places = np.unique(self.ratings.user_rows, return_inverse=True)
        queries = model.embed_queries(users)[places]
        return (queries * candidates[self.ratings.business_rows]).sum(axis=1)

    def squared_errors(self, stars: np.ndarray) -> np.ndarray:
        """Returns the `[num_ratings]` squared errors of as many predicted stars, clipped."""
        stars = np.clip(stars, features.MIN_STARS, features.MAX_STARS)
        return np.square(stars - self.ratings.stars)

    def rate(self, model: RatingModel) -> tuple[float, dict[str, float]]:
        """Returns minus the RMSE, and the metrics."""
        rmse = float(np.sqrt(self.squared_errors(self.predict(model)).mean()))
        return -rmse, {"rmse": rmse}

    def rank(self, model: RetrievalModel) -> tuple[float, dict[str, float]]:
        """Returns the NDCG of lists of `DEPTH`, and the metrics; 0 where nobody's are ranked."""
        if not len(self._users):
            return 0.0, dict.fromkeys(("recall@20", "ndcg@20", f"ndcg@{DEPTH}"), 0.0)
        hits = self._hits(*self.embed(model))
        count = self._relevant.lengths()
        ndcg = {f"ndcg@{k}": float(metrics.ndcg_at(hits, count, k).mean()) for k in (20, DEPTH)}
        recall = float(metrics.recall_at(hits, count, 20).mean())
        return ndcg[f"ndcg@{DEPTH}"], {"recall@20": recall, **ndcg}

    def embed(self, model: RetrievalModel) -> tuple[np.ndarray, np.ndarray]:
        """Embeds the users whose lists are ranked, and the catalogue."""
        candidates = model.embed_candidates()
        return model.embed_queries(candidates, self._users), candidates

    def ndcgs(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Returns the `[num_users]` NDCG of lists of `DEPTH`, ranked by inner products.

        Where no user has a business on eval that is new to them, no recipe is better than another:
        a 0 stands for all lists.
        """
        if not len(self._users):
            return np.zeros(1)
        return metrics.ndcg_at(self._hits(queries, candidates), self._relevant.lengths(), DEPTH)

    def _hits(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        return metrics.hits(metrics.top_k(queries, candidates, DEPTH, self.seen), self._relevant)
