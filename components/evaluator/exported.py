"""An exported model in the rows of today's tables: ours, and the one being served."""

import os

import numpy as np
from tfx.dsl.io import fileio

from components.pusher.versions import EXACT_MODEL
from models import exported_tables, features, metrics
from models.evaluation import RetrievalEvaluation
from models.measurements import CUT_OFFS
from models.recommender_tables import RecommenderTables
from models.tables import IdIndex, Interactions

# Repeated visits are in train and test alike.
_MAX_LEARNT = 0.05


class ExportedModel:
    """Predicts and ranks from an export's own embeddings.

    Users and businesses that it does not know are answered as it answers them: with its embeddings
    of a new user and of an unknown business.
    """

    def __init__(self, tables: RecommenderTables, user_ids: np.ndarray, business_ids: np.ndarray):
        """Finds today's users and businesses in it.

        Args:
          tables: What `models.exported_tables.read` read.
          user_ids: `[num_users]` array of `bytes`: the rows of today's users.
          business_ids: `[num_businesses]` array of `bytes`, likewise.
        """
        # An unknown id is row -1: the last one, which stands for new users and businesses.
        self._users = IdIndex(tables.user_ids).rows(user_ids)
        rows = IdIndex(tables.business_ids).rows(business_ids)
        self._queries = tables.query_embeddings
        self.candidates = tables.candidate_embeddings[rows]
        self._weights = tables.score_weights
        self._block = -tables.rating_dim
        self.tables = tables

    def queries(self, user_rows: np.ndarray) -> np.ndarray:
        """Embeds users as lists need them, `[num_users, dim]` float32."""
        return self._queries[self._users[user_rows]].astype(np.float32) * self._weights

    def rate(self, test: Interactions) -> np.ndarray:
        """Predicts the stars of interactions."""
        queries = self._queries[self._users[test.user_rows], self._block :]
        stars = np.einsum(
            "nd,nd->n",
            queries.astype(np.float32),
            self.candidates[test.business_rows, self._block :],
        )
        return np.clip(stars, features.MIN_STARS, features.MAX_STARS)

    def rank(self, protocol: RetrievalEvaluation) -> np.ndarray:
        """Ranks the catalogue for the users of an evaluation."""
        return metrics.top_k(
            self.queries(protocol.users), self.candidates, max(CUT_OFFS), protocol.seen
        )


def find_served(serving_dir: str) -> str | None:
    """Finds the newest version that is being served, None if there is none."""
    folder = os.path.join(serving_dir, EXACT_MODEL)
    if not fileio.exists(folder):
        return None
    versions = [name.strip("/") for name in fileio.listdir(folder)]
    newest = max((int(name) for name in versions if name.isdigit()), default=None)
    return None if newest is None else os.path.join(folder, str(newest))


def load_served(
    path: str, user_ids: np.ndarray, business_ids: np.ndarray, test: Interactions
) -> ExportedModel:
    """Loads the model that is being served, to be compared on today's test split.

    Raises:
      ValueError: If it has learnt from that split, which would flatter it.
    """
    tables = exported_tables.read(path)
    users, businesses = IdIndex(tables.user_ids), IdIndex(tables.business_ids)
    width = len(tables.business_ids)
    owners = np.repeat(np.arange(tables.seen.num_rows, dtype=np.int64), tables.seen.lengths())
    rows = users.rows(user_ids)[test.user_rows], businesses.rows(business_ids)[test.business_rows]
    asked = np.where(
        (rows[0] >= 0) & (rows[1] >= 0), rows[0].astype(np.int64) * width + rows[1], -1
    )
    learnt = np.isin(asked, owners * width + tables.seen.values).mean() if len(test) else 0.0
    if learnt > _MAX_LEARNT:
        raise ValueError(f"it has learnt from {learnt:.1%} of the test split")
    return ExportedModel(tables, user_ids, business_ids)
