"""The whole Evaluator on planted arrays: what it writes, and when it does not bless."""

import collections
import dataclasses
import json
import os

import numpy as np
import pandas as pd
import pytest
from tfx.types import standard_artifacts

from components import artifacts, examples
from components.evaluator import executor
from models import features
from models.gate import GateOptions
from models.tables import Bag, Interactions

NUM_USERS, NUM_BUSINESSES = 80, 50
RNG = np.random.default_rng(0)
TASTE, QUALITY = RNG.normal(size=(NUM_USERS, 3)), RNG.normal(size=(NUM_BUSINESSES, 3))
STARS = np.clip(3.0 + TASTE @ QUALITY.T / 2, 1, 5)
CELLS = RNG.permutation(NUM_USERS * NUM_BUSINESSES)


def interactions(cells, first_second):
    users, businesses = np.divmod(cells, NUM_BUSINESSES)
    noise = np.random.default_rng(first_second).normal(scale=0.3, size=len(cells))
    return Interactions(
        users.astype(np.int32),
        businesses.astype(np.int32),
        np.clip(np.round(STARS[users, businesses] + noise), 1, 5).astype(np.float32),
        first_second + np.arange(len(cells)),
    )


SOUND = {
    features.TRAIN: interactions(CELLS[:2_000], 1),
    features.EVAL: interactions(CELLS[2_000:2_400], 10_000),
    features.TEST: interactions(CELLS[2_400:3_000], 20_000),
}


def nothing(num_rows):
    return Bag(np.zeros(0, object), np.zeros(num_rows + 1, np.int64))


class Star:
    """Stands for the Examples of a run."""

    splits = SOUND
    terms = nothing(NUM_BUSINESSES)
    user_ids = np.array([b"user %d" % row for row in range(NUM_USERS)], object)
    business_ids = np.array([b"place %d" % row for row in range(NUM_BUSINESSES)], object)

    def __init__(self, *channels):
        del channels

    def read(self, split):
        return self.splits[split]

    read_splits = examples.StarSchema.read_splits

    def read_labels(self, *keys):
        reno = Bag.from_pairs(np.arange(20), np.array([b"Reno"] * 20, object), NUM_BUSINESSES)
        labels = {
            features.BUSINESS_CITY: reno,
            features.BUSINESS_CATEGORIES: nothing(NUM_BUSINESSES),
            features.BUSINESS_REVIEW_TERMS: self.terms,
        }
        return {key: labels[key] for key in keys}


@dataclasses.dataclass(frozen=True)
class Tables:
    """Stands for an export whose rating block is the truth, and whose lists rank by it."""

    seen: Bag
    mean_stars: float
    user_ids = Star.user_ids
    business_ids = Star.business_ids
    query_embeddings = np.vstack([np.hstack([TASTE, TASTE / 2, np.full((NUM_USERS, 1), 3.0)]),
                                  np.zeros((1, 7))]).astype(np.float32)  # fmt: skip
    candidate_embeddings = np.vstack([np.hstack([QUALITY, QUALITY, np.ones((NUM_BUSINESSES, 1))]),
                                      np.zeros((1, 7))]).astype(np.float32)  # fmt: skip
    score_weights = np.array([1, 1, 1, 0, 0, 0, 0], np.float32)
    rating_dim = 4


@pytest.fixture
def evaluate(monkeypatch, tmp_path):
    """Returns a function that runs the executor, perhaps sabotaged; it returns the metrics."""

    def run(
        objective=None, floor=0.0, star=Star, both=None, skipped=None, recall=(0.99, 0.0), **gate
    ):
        index = dict(zip(("recall@10", "recall@10_standard_error"), recall, strict=True))
        fitted = SOUND[features.TRAIN] + SOUND[features.EVAL]
        tables = Tables(
            fitted.histories(NUM_USERS), float(star().read_splits(True).fitted.stars.mean())
        )
        monkeypatch.setattr(executor.examples, "StarSchema", star)
        monkeypatch.setattr(executor.exported_tables, "read", lambda path: tables)
        same = np.zeros([5, 3])
        monkeypatch.setattr(
            executor.approximate, "scores_of_both", lambda *args: both or (same, same)
        )
        inputs, outputs = {}, {}
        for key in ("model", "scann_model"):
            inputs[key] = [standard_artifacts.Model()]
            inputs[key][0].uri = str(tmp_path / key)
        inputs["baselines"] = [artifacts.Baselines()]
        inputs["baselines"][0].uri = write_baselines(tmp_path / "baselines", star, skipped)
        inputs["index_evaluation"] = [artifacts.Evaluation()]
        inputs["index_evaluation"][0].uri = str(tmp_path)
        (tmp_path / "metrics.json").write_text(json.dumps(index))
        inputs |= dict.fromkeys(("interactions", "users", "businesses"), [])
        for key, kind in (
            ("evaluation", artifacts.Evaluation),
            ("blessing", standard_artifacts.ModelBlessing),
            ("rating_examples", standard_artifacts.Examples),
        ):
            outputs[key] = [kind()]
            outputs[key][0].uri = str(tmp_path / key)
            os.makedirs(outputs[key][0].uri, exist_ok=True)
        executor.Executor().Do(inputs, outputs, {
            "gate": GateOptions(**gate).model_dump_json(),
            "objective": json.dumps(objective or {"rating": 1.0, "retrieval": 1.0}),
            "target_recall": 0.95,
            "refit": 1,
            "serving_dir": str(tmp_path / "serving"),
            "noise_floor_rmse": floor,
            "max_native_rows": 10,
        })  # fmt: skip
        told = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
        blessed = os.path.exists(tmp_path / "blessing" / "BLESSED")
        assert blessed == told["blessing"]["blessed"]
        assert blessed != os.path.exists(tmp_path / "blessing" / "NOT_BLESSED")
        return told

    return run


def write_baselines(folder, star, skipped):
    """Writes what a baseline of each task says: the mean, and the businesses in their order."""
    test = star().read(features.TEST)
    for task in ("rating", "retrieval"):
        os.makedirs(folder / task, exist_ok=True)
    pd.DataFrame({"stars": np.full(len(test), 3.0)}).to_parquet(folder / "rating" / "bias.parquet")
    fitted = star().read_splits(True).fitted
    pairs = {(u, b) for u, b in zip(fitted.user_rows, fitted.business_rows, strict=True)}
    new = {
        u for u, b in zip(test.user_rows, test.business_rows, strict=True) if (u, b) not in pairs
    }
    users = np.array(sorted(new), int)
    lists = pd.DataFrame({
        "user_row": np.repeat(users, 50),
        "rank": np.tile(np.arange(1, 51), len(users)),
        "business_row": np.tile(np.arange(50), len(users)),
    })
    lists.to_parquet(folder / "retrieval" / "popularity.parquet")
    trained = {
        "rating": {"bias": {"eval_loss": 1.0, "seconds": 1.0}},
        "retrieval": {"popularity": {"eval_loss": 0.9, "seconds": 1.0}},
    }
    skipped = skipped or {"rating": {}, "retrieval": {}}
    for task, names in skipped.items():
        trained[task] = {k: v for k, v in trained[task].items() if k not in names}
    for name, content in (
        ("trained", trained), ("skipped", skipped), ("fallback", {"rating": "bias"})
    ):  # fmt: skip
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


def failed(told):
    return [text for text in told["blessing"]["reasons"] if text.startswith("FAILED")]


def test_a_sound_run_is_blessed_and_tells_everything(evaluate):
    told = evaluate(floor=0.2)
    assert told["blessing"]["blessed"] and not failed(told)
    assert len(told["tripwires"]) == 5
    kinds = collections.Counter(check["kind"] for check in told["blessing"]["checks"])
    assert (kinds["index"], kinds["tripwire"]) == (1, 5)
    test = told["rating"]["test"]
    assert set(test["models"]) == {"t2rec", "bias"}
    assert test["best_baseline"] == "bias"
    assert test["models"]["t2rec"]["slices"]["city=Reno"]["num_ratings"] > 100
    assert test["differences"]["bias"]["rmse"]["high"] < 0
    assert test["native"] == {"baseline": "bias", "num_ratings": 10, "of_ratings": 600}
    assert told["rating"]["eval"]["losses"] == {"bias": 1.0}
    lists = told["retrieval"]["test"]
    assert {"coverage@20", "novelty@20", "popularity@20", "overlap@20"} <= set(
        lists["models"]["t2rec"]
    )
    assert set(lists["differences"]["popularity"]["slices"]["warm"]) == {"recall@20", "ndcg@20"}


class Leaky(Star):
    splits = {**SOUND, features.TRAIN: SOUND[features.TRAIN] + SOUND[features.TEST][:50]}


def test_test_rows_in_train_fail(evaluate):
    told = evaluate(star=Leaky)
    assert any("LEAK: 50 of 600 test rows are among the training rows" in t for t in failed(told))


class Shrunk(Star):
    """The export has learnt from rows that are no longer for training."""

    splits = {**SOUND, features.TRAIN: SOUND[features.TRAIN][100:]}


def test_an_export_that_knows_more_than_the_training_rows_fails(evaluate):
    assert any("the export knows 100 visits that are no training rows" in t
               for t in failed(evaluate(star=Shrunk)))  # fmt: skip


class Wordy(Star):
    terms = Bag.from_pairs(np.arange(50), np.array([b"word"] * 50, object), 50)
    splits = {
        **SOUND,
        features.TRAIN: SOUND[features.TRAIN][SOUND[features.TRAIN].business_rows != 7],
    }


def test_a_vocabulary_from_other_splits_fails(evaluate):
    told = failed(evaluate(star=Wordy))
    assert any("1 businesses without training reviews have words" in text for text in told)


def test_an_rmse_below_the_noise_floor_fails(evaluate):
    told = failed(evaluate(floor=0.9))
    assert len(told) == 1
    assert "LEAK: below the noise floor of 0.9000 stars" in told[0]
    assert "t2rec" in told[0]


def test_approximate_search_above_exact_search_fails(evaluate):
    exact = np.zeros([5, 3])
    told = failed(evaluate(both=(exact + [[0.5, 0, 0]], exact)))
    assert len(told) == 1
    assert "ERROR: approximate search is above exact search for 5 of 5 users" in told[0]


def test_a_skipped_baseline_is_listed_and_the_rest_goes_on(evaluate):
    reasons = {"rating": {"bias": "it failed: no ratings"}, "retrieval": {}}
    told = evaluate(skipped=reasons)
    assert told["rating"]["test"]["skipped"] == reasons["rating"]
    assert "no baseline was trained (bias: it failed: no ratings)" in failed(told)[0]
    assert "popularity" in told["retrieval"]["test"]["models"]


@pytest.mark.parametrize("task", ["rating", "retrieval"])
def test_a_single_task_is_judged_alone(task, evaluate):
    told = evaluate({"rating": 0.0, "retrieval": 0.0, task: 1.0})
    assert told["blessing"]["blessed"]
    assert {"rating", "retrieval"} & set(told) == {task}


class Constant(Star):
    splits = {
        name: dataclasses.replace(rows, stars=np.full(len(rows), 4.0, np.float32))
        for name, rows in SOUND.items()
    }


def test_constant_stars_are_left_out_and_lists_decide(evaluate):
    told = evaluate(star=Constant)
    assert told["blessing"]["blessed"]
    reasons = told["blessing"]["reasons"]
    assert "left out: ratings, for all training stars are 4: nothing to predict" in reasons


class Repeating(Star):
    """Everybody only comes back, a second later, to where they were."""

    again = SOUND[features.TRAIN][:200]
    splits = {
        **SOUND,
        features.TEST: dataclasses.replace(
            again, timestamps_seconds=again.timestamps_seconds + 99_999
        ),
    }


def test_lists_without_users_are_left_out(evaluate):
    told = evaluate(star=Repeating)
    assert told["retrieval"]["test"]["models"] == {}
    reasons = told["blessing"]["reasons"]
    assert "left out: lists, for no test user has a business that is new to them" in reasons


@pytest.mark.parametrize(
    ("recall", "blessed"),
    [
        ((0.95, 0.0), True),
        # 1.96 standard errors reach from .945 to .9509.
        ((0.945, 0.003), True),
        ((0.945, 0.002), False),
    ],
)
def test_an_index_significantly_below_its_recall_is_refused(evaluate, recall, blessed):
    told = evaluate(recall=recall)
    (reason,) = [r for r in told["blessing"]["reasons"] if "of the index" in r]
    assert f"is {recall[0]:.4f} ± {1.96 * recall[1]:.4f}, and should be 0.95 or more" in reason
    assert reason.startswith("passed" if blessed else "FAILED")
