"""A small report of a run, as `metrics.json` and `page.json` hold it."""

import pytest

from models import gate
from tests.harnesses.measured import interval


def rated(rmse, reliability=True):
    slices = {
        "cold_user": {"rmse": {"value": rmse + 0.1}, "num_ratings": 3},
        "city=Reno": {"rmse": interval(rmse - 0.1), "num_ratings": 400},
    }
    told = {"rmse": interval(rmse), "mae": interval(rmse - 0.2), "calibration": interval(1.0)}
    bins = [{"predicted": s, "stars": s + 0.1, "num_ratings": 10} for s in (2.0, 3.5, 4.5)]
    return {**told, "num_ratings": 900, "slices": slices, "reliability": bins}


def listed(recall):
    told = {key: interval(recall) for key in ("recall@10", "recall@20", "ndcg@20", "mrr")}
    told |= {f"{key}@20": {"value": 0.5} for key in ("coverage", "novelty", "popularity")}
    slices = {"warm": {"recall@20": interval(recall), "num_users": 50}}
    return {**told, "num_users": 60, "slices": slices}


def task(models, metric, best):
    return {
        "test": {
            "models": models,
            "skipped": {"svd": "it would take about 900 s"},
            "best_baseline": best,
            "differences": {
                name: {metric: interval(-0.05), "slices": {}} for name in models if name != "t2rec"
            },
        },
        "eval": {"losses": {best: 0.9}},
    }


@pytest.fixture
def metrics():
    """The content of `metrics.json`."""
    looks = [
        {"step": s, "loss": 2.0 - s, "score": -1.0, "metrics": {"rmse": 1.0 - s / 10}}
        for s in (1, 2, 3)
    ]
    report = {
        "dataset": {
            "num_interactions": 9_000,
            "num_users": 300,
            "num_businesses": 200,
            "tables": {
                "users": {"lines_read": 301, "kept": 300, "rejected": {"not JSON": 1}},
            },
        },
        "splits": {"method": "random", "num_interactions": {"train": 7_000, "test": 1_000}},
        "config": {"split": {"method": "random"}, "refit": True},
        "config_digest": "abc",
        "rating": task({"t2rec": rated(0.8), "bias": rated(0.9)}, "rmse", "bias"),
        "retrieval": task({"t2rec": listed(0.3), "als": listed(0.2)}, "recall@20", "als"),
        "blessing": gate.conclude([
            gate.Check("well done", True),
            gate.Check("slice x", False),
            gate.Check("the model being served", None),
        ]).to_json(),
        "index": {"recall@10": 0.99, "exact_microseconds": 900.0, "curve": [
            {"kind": "plain", "num_leaves": 20, "recall@10": 0.9, "microseconds": 20.0},
            {"kind": "plain", "num_leaves": 20, "recall@10": 0.99, "microseconds": 60.0},
            {"kind": "weighted", "num_leaves": 20, "recall@10": 0.5, "microseconds": 60.0},
        ]},
        "training": {"choices": {"rating": {
            "recipe": {"taste_dim": 8}, "best_step": 2, "num_steps": 3,
            "trials": [{"looks": looks}],
        }}},
        "pushed_version": None,
        "timings": {"Trainer": 60.0, "Evaluator": 9.5},
        "memory_mb": {"Trainer": 900.0},
        "cached": [],
    }  # fmt: skip
    report["rating"]["test"]["native"] = {
        "baseline": "bias", "num_ratings": 100, "of_ratings": 900,
        "metrics": {"candidate": rated(0.81), "baseline": rated(0.91)},
    }  # fmt: skip
    return report


@pytest.fixture
def page_data():
    """The content of `page.json`."""
    place = {"name": "Tea <House>", "city": "Reno", "categories": ["Tea", "Cakes"]}
    why = {"nearest": "Old Café", "cosine": 0.91, "shares": ["Tea"]}
    known = {**place, "stars": 4.5, "visited_in_test": True, "why": why}
    new = {**place, "stars": 3.0, "visited_in_test": False, "why": None}
    stars = {"missing": 0.0, "mean": 3.5, "quantiles": [1.0, 3.0, 4.0, 5.0, 5.0]}
    return {
        "users": [
            {"user_id": "ann", "num_history": 7, "history": [{**place, "stars": 5.0}],
             "recommendations": [known]},
            {"user_id": "new", "num_history": 0, "history": [], "recommendations": [new]},
        ],
        "statistics": {
            "interactions": {"train": {"num_rows": 7_000, "features": {"stars": stars}}},
        },
    }  # fmt: skip
