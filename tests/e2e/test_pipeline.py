"""The whole pipeline on planted data, with the real LocalDagRunner."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata

from models.baselines import registry
from pipeline import cli, graph, local_runner
from pipeline.root import Root
from serving import model_folders
from serving.client import LocalClient

pytestmark = pytest.mark.slow


def executions(root) -> dict[str, list[int]]:
    """Lists the states of every node's executions."""
    store = metadata_store.MetadataStore(
        metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    )
    names = {context.id: context.name for context in store.get_contexts_by_type("node")}
    states: dict[str, list[int]] = {}
    for context_id, name in names.items():
        states[name.removeprefix("t2rec.")] = [
            execution.last_known_state for execution in store.get_executions_by_context(context_id)
        ]
    return states


def versions(root, model="t2rec") -> list[str]:
    folder = root / "serving" / model
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_every_node_ran_once(run):
    nodes = graph.build_components(run.settings, graph.Inputs("data", "serving"))
    complete = [metadata_store_pb2.Execution.COMPLETE]
    assert executions(run.root) == {node.id: complete for node in nodes}
    assert list(run.report["timings"]) and set(run.report["timings"]) == {n.id for n in nodes}


def test_the_model_beats_the_baselines_and_comes_close_to_the_noise_floor(run):
    rating = run.report["rating"]["test"]["models"]
    assert rating["t2rec"]["rmse"]["high"] < rating["bias"]["rmse"]["value"]
    assert rating["bias"]["rmse"]["value"] < rating["global_mean"]["rmse"]["value"]
    assert rating["t2rec"]["rmse"]["value"] < 1.10 * run.truth["noise_floor_rmse"]
    # Nothing can beat the truth by more than the luck of a test split of 2,000 ratings: below
    # this, answers have leaked.
    assert rating["t2rec"]["rmse"]["high"] > run.truth["noise_floor_rmse"]
    retrieval = run.report["retrieval"]["test"]["models"]
    assert retrieval["t2rec"]["recall@20"]["low"] > retrieval["popularity"]["recall@20"]["value"]


def test_the_report_holds_what_the_contract_names(run):
    on_disk = json.loads((run.root / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert on_disk == json.loads(json.dumps(run.report))
    assert on_disk["dataset"]["num_interactions"] > 19_000
    assert set(on_disk["splits"]["num_interactions"]) == {"train", "eval", "test"}
    assert {"cold_user", "cold_business", "warm"} <= set(
        on_disk["rating"]["test"]["models"]["t2rec"]["slices"]
    )
    measured = on_disk["retrieval"]["test"]["models"]["popularity"]
    assert {"recall@10", "recall@20", "recall@50", "ndcg@20", "mrr", "coverage@20"} <= set(measured)
    assert set(on_disk["rating"]["test"]["models"]) == {"t2rec", *registry.RATING}
    assert set(on_disk["retrieval"]["test"]["models"]) == {"t2rec", *registry.RETRIEVAL}
    for task in ("rating", "retrieval"):
        assert on_disk[task]["test"]["skipped"] == {}
    index = on_disk["index"]
    recall = index["recall@10"] + 2 * index["recall@10_standard_error"]
    assert recall >= run.settings.index.target_recall
    assert on_disk["blessing"]["blessed"] is True
    assert "both exports are served over REST and gRPC" in on_disk["blessing"]["reasons"][-1]
    reasons = on_disk["blessing"]["reasons"]
    assert all(reason.split(":")[0] in ("passed", "left out") for reason in reasons)
    best = on_disk["rating"]["test"]["best_baseline"]
    losses = on_disk["rating"]["eval"]["losses"]
    assert min(losses, key=losses.__getitem__) == best
    assert "test rmse minus that of bias is" in reasons[0]
    assert any("below the noise floor" in reason for reason in reasons)
    differences = on_disk["retrieval"]["test"]["differences"]
    assert set(differences) == set(registry.RETRIEVAL)
    assert set(differences["als"]["recall@20"]) == {"value", "low", "high"}
    assert len(on_disk["config_digest"]) == 16


def test_tensorboard_finds_the_curves_of_every_run(run):
    (logs,) = (run.root / "artifacts" / "Trainer" / "model_run").iterdir()
    for task in ("rating", "retrieval"):
        tried = len(run.report["training"]["choices"][task]["trials"])
        drawn = {path.parent.name for path in logs.glob(f"{task}/*/events.out.tfevents.*")}
        assert len(drawn) == tried + 1
        assert "final" in drawn
    assert not (run.root / "checkpoints").exists()


def test_tensorflow_model_analysis_agrees_with_the_vectorised_metrics(run):
    """It asked the exports; here the same rows are rated by embeddings and by LightGBM itself."""
    (folder,) = (run.root / "artifacts" / "Evaluator" / "rating_examples").iterdir()
    (sample,) = (folder / "Split-test").iterdir()
    raw = tf.data.TFRecordDataset(str(sample)).as_numpy_iterator()
    rows = [tf.train.Example.FromString(row) for row in raw]
    features = [row.features.feature for row in rows]
    users, businesses = (
        [feature[key].bytes_list.value[0].decode() for feature in features]
        for key in ("user_id", "business_id")
    )
    stars = np.array([feature["stars"].float_list.value[0] for feature in features])
    ours = np.array(LocalClient(str(run.root)).rate(users, businesses))
    native = run.report["rating"]["test"]["native"]
    assert (native["num_ratings"], native["of_ratings"]) == (300, len_of_test(run))
    candidate = native["metrics"]["candidate"]
    names = [set(feature["slice"].bytes_list.value) for feature in features]
    assert set(candidate["slices"]) == {name.decode() for found in names for name in found}
    groups = {"": np.ones(300, bool)} | {
        name: np.array([name.encode() in found for found in names]) for name in candidate["slices"]
    }
    for name, mask in groups.items():
        found = candidate["slices"][name] if name else candidate
        error = ours[mask] - stars[mask]
        assert found["num_ratings"] == mask.sum()
        expected = {
            "rmse": np.sqrt(np.mean(error**2)),
            "mae": np.abs(error).mean(),
            "calibration": ours[mask].sum() / stars[mask].sum(),
        }
        for metric, value in expected.items():
            assert found[metric]["value"] == pytest.approx(value, abs=2e-4), (name, metric)
    assert candidate["rmse"]["low"] < candidate["rmse"]["value"] < candidate["rmse"]["high"]
    # The baseline is the best of eval that can be served; its RMSE is near that of all test rows.
    whole = run.report["rating"]["test"]["models"][native["baseline"]]["rmse"]["value"]
    assert native["metrics"]["baseline"]["rmse"]["value"] == pytest.approx(whole, rel=0.15)


def len_of_test(run):
    return run.report["rating"]["test"]["models"]["t2rec"]["num_ratings"]


def test_the_report_is_a_page(run):
    document = (run.root / "report" / "index.html").read_text(encoding="utf-8")
    assert "Blessed: this model may be served" in document
    assert "Peak memory, MB" in document
    assert "TensorFlow Model Analysis" in document
    assert len(document) < 5_000_000
    assert set(run.report["memory_mb"]) == set(run.report["timings"])
    # Twenty people, of whom each with a history is told why.
    assert document.count("Is recommended") == 20
    assert document.count("(cosine ") >= 50


def test_both_exports_are_pushed_under_one_version(run):
    pushed = run.report["pushed_version"]
    assert versions(run.root) == versions(run.root, "t2rec_scann") == [pushed]


def test_all_users_were_scored_with_the_pushed_model(run):
    (folder,) = (run.root / "artifacts" / "BatchScorer" / "recommendations").iterdir()
    table = pd.read_parquet(folder)
    assert len(table) == 4 * run.report["dataset"]["num_users"]
    users = sorted(set(table.user_id))[::300]
    answers = LocalClient(str(run.root)).recommend(users, k=4, exclude_seen=True)
    for user, answer in zip(users, answers, strict=True):
        rows = table[table.user_id == user].sort_values("rank")
        assert rows.business_id.tolist() == [r.business_id for r in answer]
        np.testing.assert_allclose(rows.score, [r.score for r in answer], atol=1e-4)
        np.testing.assert_allclose(rows.rating, [r.rating for r in answer], atol=1e-4)


def test_both_versions_carry_a_card_of_this_run(run):
    for name in ("t2rec", "t2rec_scann"):
        version = run.root / "serving" / name / run.report["pushed_version"]
        card = json.loads((version / "assets.extra" / "model_card.json").read_text())
        for task, metric in (("rating", "rmse"), ("retrieval", "recall@20")):
            measured = run.report[task]["test"]["models"]
            told = card["metrics"][task]["models"]
            assert {model: one[metric] for model, one in told.items()} == {
                model: one[metric] for model, one in measured.items()
            }
        assert card["data"]["interactions"] == run.report["dataset"]["num_interactions"]
        assert card["data"]["is_generated"]
        assert card["blessing"] == run.report["blessing"]
        assert card["config_digest"] == run.report["config_digest"]
        signatures = json.loads((version / "assets.extra" / "signatures.json").read_text())
        assert card["signatures"] == signatures
        parts = {part["name"]: part for part in card["kept"]["parts"]}
        assert parts["query_embeddings"]["dtype"] == "float16"
        assert not [part for part in parts.values() if not part["holds"]]
        on_disk = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
        cards = sum(path.stat().st_size for path in version.rglob("model_card.*"))
        assert card["kept"]["num_bytes"] == on_disk - cards


def test_a_fresh_process_answers_from_the_pushed_export(run):
    """Loads the export without this project on the path, in another working directory."""
    reviews = pd.read_json(run.data / "yelp_academic_dataset_review.json", lines=True)
    user = reviews["user_id"].iloc[0]
    program = (
        "import sys, tensorflow as tf\n"
        "from tensorflow.core.protobuf import saved_model_pb2\n"
        "with open(sys.argv[1] + '/saved_model.pb', 'rb') as file:\n"
        "    (graph,) = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs\n"
        # What is left out has defaults, which TensorFlow Serving fills in.
        "defaults = graph.signature_def['recommend'].defaults\n"
        "told = {key: tf.constant(tf.make_ndarray(value)) for key, value in defaults.items()}\n"
        "told |= {'k': tf.constant([5]), 'exclude_seen': tf.constant([True])}\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "out = model.signatures['recommend'](user_id=tf.constant([sys.argv[2]]), **told)\n"
        "print(*[i.decode() for i in out['business_id'].numpy()[0]])\n"
        "print(*out['rating'].numpy()[0])\n"
        "assert not any(name in sys.modules for name in ('models', 'scann', 'tfx'))\n"
    )
    path = run.root / "serving" / "t2rec" / run.report["pushed_version"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(path), user],
        cwd="/", capture_output=True, text=True, check=True,
    )  # fmt: skip
    ids, ratings = done.stdout.splitlines()
    here = LocalClient(str(run.root)).recommend([user], k=5, exclude_seen=True)[0]
    assert ids.split() == [r.business_id for r in here]
    np.testing.assert_allclose(
        [float(r) for r in ratings.split()], [r.rating for r in here], atol=1e-5
    )
    catalogue = set(
        pd.read_json(run.data / "yelp_academic_dataset_business.json", lines=True)["business_id"]
    )
    assert len(set(ids.split())) == 5
    assert set(ids.split()) <= catalogue


def test_exact_and_approximate_exports_agree(run):
    exact = LocalClient(str(run.root / "serving" / "t2rec"))
    approximate = LocalClient(str(run.root / "serving" / "t2rec_scann"))
    with open(os.path.join(exact.model.path, "assets", "user_ids.txt"), encoding="utf-8") as file:
        users = file.read().split()[:200]
    pairs = zip(exact.recommend(users), approximate.recommend(users), strict=True)
    found = [len({r.business_id for r in a} & {r.business_id for r in b}) / 10 for a, b in pairs]
    assert np.mean(found) >= 0.95
    assert exact.rate(users[:5], ["nobody"] * 5) == approximate.rate(users[:5], ["nobody"] * 5)


def test_a_second_run_takes_everything_from_the_cache_and_pushes_nothing(run):
    report = local_runner.run(run.settings, str(run.data), Root(str(run.root)))
    assert set(report["cached"]) == set(report["timings"])
    assert report["rating"] == run.report["rating"]
    assert versions(run.root) == [run.report["pushed_version"]]


def test_a_bad_model_is_neither_blessed_nor_pushed(run, capsys):
    """Hardly trained: on ratings it is then no better than the bias model it starts from."""
    bad = [
        "training.rating_learning_rate=1e-9",
        "training.retrieval_learning_rate=1e-9",
        "training.min_steps=2",
        "training.rating_epochs=1",
        "training.retrieval_epochs=1",
        "training.tuning_seconds=0",
        "training.num_evaluations=1",
        "evaluation.native_rows=0",
    ]
    root = Root(str(run.root))
    before = local_runner.find_trained(root)
    # By the command itself, whose exit code tells of it.
    code = cli.main(["run", "--data", str(run.data), "--root", str(run.root), "--set", *bad])
    assert code == 3
    assert "Nothing was pushed." in capsys.readouterr().out
    report = json.loads((run.root / "report" / "metrics.json").read_text(encoding="utf-8"))
    assert {"YelpExampleGen", "Transform.users", "BaselineTrainer"} <= set(report["cached"])
    assert report["blessing"]["blessed"] is False
    failed = [r for r in report["blessing"]["reasons"] if r.startswith("FAILED")]
    assert any("test rmse minus that of" in reason for reason in failed)
    # The model that is being served was trained well.
    assert any("that of the model being served" in reason for reason in failed)
    assert "previous" in report["rating"]["test"]["models"]
    assert report["pushed_version"] is None
    assert versions(run.root) == [run.report["pushed_version"]]
    # It can be asked all the same.
    trained = local_runner.find_trained(root)
    assert trained != before
    assert model_folders.is_saved_model(trained) and model_folders.is_saved_model(before)


def test_a_gate_without_its_baseline_fails_and_says_why(run):
    """No baseline is expected to be done within a microsecond."""
    baselines = run.settings.baselines.model_copy(update={"max_seconds": 1e-6})
    off = run.settings.evaluation.model_copy(update={"native_rows": 0})
    hurried = run.settings.model_copy(update={"baselines": baselines, "evaluation": off})
    report = local_runner.run(hurried, str(run.data), Root(str(run.root)))
    assert "Trainer" in report["cached"]
    assert set(report["rating"]["test"]["skipped"]) == set(registry.RATING)
    assert set(report["retrieval"]["test"]["skipped"]) == set(registry.RETRIEVAL)
    assert set(report["rating"]["test"]["models"]) == {"t2rec", "previous"}
    assert report["blessing"]["blessed"] is False
    failed = [text for text in report["blessing"]["reasons"] if text.startswith("FAILED")]
    for text, name in zip(failed, ("bias", "popularity"), strict=False):
        assert f"{name} was skipped: it would take about" in text
