"""Trains the rating task of ingested data with sizes from a grid, and with those of `auto`."""

import json
import sys
import time

from benchmarks import ingested
from models.options import AUTO, ModelOptions, Objective, TrainingOptions
from models.training import train

# Widths of both hidden layers, and the interaction coordinates that go with them.
GRID = ((16, 8), (32, 8), (32, 16), (64, 16), (64, 32), (128, 32))


def main(root: str, num_seeds: str, out: str) -> None:
    """Writes the error and the cost of each run as JSON.

    Args:
      root: Where `benchmarks.ingest_pipeline` wrote.
      num_seeds: Runs of each size, each with a seed of its own.
      out: The JSON file.
    """
    *tables, _ = ingested.read(root)
    _train(tables, (16, 8), 0)  # Whatever happens once in a process.
    runs = []
    for seed in range(int(num_seeds)):
        for size in (AUTO, *GRID):
            runs.append(_train(tables, size, seed))
            print(f"  {runs[-1]}", flush=True)
    with open(out, "w", encoding="utf-8") as file:
        json.dump(runs, file)


def _train(tables: list, size: tuple[int, int] | str, seed: int) -> dict:
    """Trains on train and looks at eval as every run does, with nothing else left to choose."""
    width, rating_dim = (AUTO, AUTO) if isinstance(size, str) else ((size[0],) * 2, size[1])
    options = ModelOptions(
        objective=Objective(retrieval=0.0, rating=1.0),
        tower_widths=width,
        rating_dim=rating_dim,
        taste_dim=0,
        factor_dim=0,
    )
    start = time.process_time()
    training = TrainingOptions(rating_learning_rate=1e-3, seed=seed)
    result = train(*tables, options, training, refit=False)
    used = result.model.options
    return {
        "size": size if isinstance(size, str) else f"{size[0]}, p {size[1]}",
        "found": f"{used.hidden_widths}, p {used.rating_dim}",
        "seed": seed,
        "rmse": -result.choices["rating"].trials[-1]["score"],
        "cpu_seconds": time.process_time() - start,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
