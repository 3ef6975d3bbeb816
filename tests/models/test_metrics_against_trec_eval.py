"""Holds our list metrics against trec_eval's, through its Python binding."""

import numpy as np
import pytest
import pytrec_eval

from models.evaluation import RetrievalEvaluation
from models.measurements import CUT_OFFS
from models.slices import Known
from models.tables import Interactions

NUM_USERS, NUM_BUSINESSES = 60, 200
THEIRS = {"recall": "recall", "ndcg": "ndcg_cut", "hit_rate": "success"}


@pytest.fixture(scope="module")
def both():
    """Ours and theirs of the same random lists, some of them short."""
    rng = np.random.default_rng(0)
    num_relevant = rng.integers(1, 70, NUM_USERS)
    users = np.repeat(np.arange(NUM_USERS, dtype=np.int32), num_relevant)
    businesses = np.concatenate([
        rng.choice(NUM_BUSINESSES, n, replace=False) for n in num_relevant
    ]).astype(np.int32)
    test = Interactions(users, businesses, np.ones(len(users), np.float32))
    known = Known(np.ones(NUM_USERS, int), np.ones(NUM_BUSINESSES, int))
    evaluation = RetrievalEvaluation(test, test[:0], known)
    ranked = np.stack([rng.permutation(NUM_BUSINESSES)[:50] for _ in range(NUM_USERS)])
    ranked[::7, 30:] = -1
    wanted: dict = {}
    for user, business in zip(users, businesses, strict=True):
        wanted.setdefault(f"u{user}", {})[f"b{business}"] = 1
    # trec_eval sorts by score, so the first place has the highest.
    lists = {
        f"u{user}": {f"b{b}": 50.0 - rank for rank, b in enumerate(row) if b >= 0}
        for user, row in enumerate(ranked)
    }
    asked = {f"{name}.{','.join(map(str, CUT_OFFS))}" for name in THEIRS.values()}
    found = pytrec_eval.RelevanceEvaluator(wanted, {*asked, "recip_rank"}).evaluate(lists)
    return evaluation.measure({"ours": ranked}), found


@pytest.mark.parametrize("k", CUT_OFFS)
@pytest.mark.parametrize("name", THEIRS)
def test_means_are_those_of_trec_eval(both, name, k):
    ours, theirs = both
    expected = np.mean([of_user[f"{THEIRS[name]}_{k}"] for of_user in theirs.values()])
    assert len(theirs) == NUM_USERS
    assert ours.interval("ours", f"{name}@{k}").value == pytest.approx(expected, abs=1e-9)


def test_the_mean_reciprocal_rank_is_that_of_trec_eval(both):
    ours, theirs = both
    expected = np.mean([of_user["recip_rank"] for of_user in theirs.values()])
    assert ours.interval("ours", "mrr").value == pytest.approx(expected, abs=1e-9)
