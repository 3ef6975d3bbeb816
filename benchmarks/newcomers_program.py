"""Trains with everybody and without some users, and ranks the catalogue for those both ways."""

import sys

import numpy as np

from benchmarks import ingested
from models import metrics
from models.options import ModelOptions, Objective, TrainingOptions
from models.retrieval_model import RetrievalModel
from models.tables import Interactions
from models.training import train

_K = 20


def main(root: str, seed: str, share: str) -> None:
    """Prints Recall@20 of both.

    Args:
      root: Where `benchmarks.ingest_pipeline` wrote.
      seed: Of training and of the choice of users.
      share: Of users, to be withheld.
    """
    users, businesses, *splits = ingested.read(root)
    train_set, eval_set, test = splits
    fitted = train_set + eval_set
    candidates = np.intersect1d(test.user_rows, fitted.user_rows)
    rng = np.random.default_rng(int(seed))
    chosen = rng.choice(candidates, round(float(share) * len(candidates)), replace=False)

    def others(split: Interactions) -> Interactions:
        return split[~np.isin(split.user_rows, chosen)]

    options = TrainingOptions(seed=int(seed))
    model_options = ModelOptions(objective=Objective(retrieval=1.0, rating=0.0))
    trained = train(users, businesses, train_set, eval_set, model_options, options, refit=True)
    # The same recipe for both, as eval chose it with everybody.
    recipe = trained.model.options
    told = {
        key: value
        for key, value in trained.choices["retrieval"].recipe.items()
        if key in TrainingOptions.model_fields
    }
    withheld = train(
        users,
        businesses,
        others(train_set),
        others(eval_set),
        recipe,
        options.model_copy(update=told),
        refit=True,
    )
    recalls = {}
    for name, result in (("trained in", trained), ("by their history", withheld)):
        recalls[name] = _recalls(result.model.retrieval, chosen, fitted, test, users.num_rows)
        print(f"  {name:<24} recall@{_K} {recalls[name].mean():.4f} of {len(chosen):,} users")
    one, other = recalls["by their history"], recalls["trained in"]
    draws = rng.integers(len(chosen), size=(2_000, len(chosen)))
    ratios = one[draws].mean(axis=1) / other[draws].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    print(f"  ratio {one.mean() / other.mean():.3f} [{low:.3f}, {high:.3f}] (0.94 wanted)")


def _recalls(
    model: RetrievalModel, chosen: np.ndarray, fitted: Interactions, test: Interactions, size: int
) -> np.ndarray:
    """Ranks for users who tell what they did before, `[num_users]` float64 array of recalls."""
    candidates = model.embed_candidates()
    seen = fitted.histories(size).take(chosen)
    queries = model.embed_queries(candidates, chosen, seen)
    ranked = metrics.top_k(queries, candidates, _K, seen)
    relevant = test.histories(size).take(chosen)
    return metrics.recall_at(metrics.hits(ranked, relevant), relevant.lengths(), _K)


if __name__ == "__main__":
    main(*sys.argv[1:])
