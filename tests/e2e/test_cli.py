"""The command line as users meet it: real processes, exit codes, messages."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest

from tests.harnesses.waiting import wait_until

T2REC = [sys.executable, "-m", "pipeline.cli"]


def t2rec(*args, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*T2REC, *map(str, args)], capture_output=True, text=True, check=False, **kwargs
    )


def write_reviews(folder, lines: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "yelp_academic_dataset_review.json").write_text(
        "".join(line + "\n" for line in lines), encoding="utf-8"
    )


def test_help_needs_nothing_heavy():
    program = (
        "import sys\n"
        "from pipeline import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    commands = ("run", "synth", "compile", "worker", "serve", "report", "query", "theory", "score")
    for command in commands:
        assert command in done.stdout


def review(number: int) -> str:
    return json.dumps({
        "review_id": f"r{number}",
        "user_id": f"u{number % 7}",
        "business_id": f"b{number % 5}",
        "stars": 1 + number % 5,
        "date": f"2020-01-{1 + number % 28:02d} 10:00:00",
    })


@pytest.mark.parametrize(
    ("prepare", "args", "code", "messages"),
    [
        (None, ["--data", "{tmp}/missing"], 1, ["there is nothing at", "missing"]),
        (
            lambda tmp: (tmp / "d").mkdir(),
            ["--data", "{tmp}/d"],
            1,
            ["yelp_academic_dataset_review.json"],
        ),
        (
            lambda tmp: (tmp / "d").write_text("x"),
            ["--data", "{tmp}/d"],
            1,
            ["Expected a directory"],
        ),
        (
            lambda tmp: write_reviews(tmp / "d", [review(1)]),
            ["--data", "{tmp}/d", "--set", "split.methd=random"],
            2,
            ["unknown key 'split.methd'", "method, eval, test, seed"],
        ),
        (
            lambda tmp: write_reviews(tmp / "d", [review(1)]),
            ["--data", "{tmp}/d", "--runnner=DirectRunner"],
            2,
            ["--runnner=DirectRunner"],
        ),
        (
            lambda tmp: (tmp / "root").write_text("a file"),
            ["--data", "{tmp}"],
            2,
            ["folder that can be written to as --root"],
        ),
    ],
    ids=["no directory", "no review file", "a file", "unknown key", "unknown option", "bad root"],
)
def test_bad_input_is_one_line(tmp_path, prepare, args, code, messages):
    if prepare:
        prepare(tmp_path)
    given = [a.replace("{tmp}", str(tmp_path)) for a in args]
    _check_is_one_line(t2rec("run", "--root", tmp_path / "root", *given), code, messages)


@pytest.mark.parametrize("root", ["gs://bucket/root", "runs/day[1]", "runs/*"])
def test_a_root_that_cant_be_one_is_one_line(tmp_path, root):
    done = t2rec("run", "--data", tmp_path, "--root", root)
    _check_is_one_line(done, 2, ["Expected a folder of this machine as --root", repr(root)])


def _check_is_one_line(done, code, messages):
    assert done.returncode == code, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("t2rec: ")
    for message in messages:
        assert message in last
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_unusable_reviews_stop_the_run_in_one_line(tmp_path):
    write_reviews(tmp_path / "d", ["not json", "{}"])
    done = t2rec("run", "--data", tmp_path / "d", "--root", tmp_path / "root")
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("t2rec: Expected")
    assert "usable" in last
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root" / "serving").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Four runs, where others are one.
def test_a_killed_run_goes_on_where_it_stood(run, tmp_path, caplog):
    """Kills a run within Trainer and the next one after it; the third goes on and trusts no halves.

    The fourth run starts training from what the third has pushed; the model that was blessed before
    them kept nothing to start from.

    A copy of an earlier run's metadata spares the ingestion; training is new to it.
    """
    from pipeline import config, local_runner
    from pipeline.root import Root

    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(run.root / "metadata.sqlite", root)
    settings = ["training.min_steps=40", "training.rating_epochs=1", "training.retrieval_epochs=1"]
    settings += ["training.num_evaluations=1", "training.tuning_seconds=0"]
    settings += ["training.checkpoint_seconds=0", "training.warm_start=true"]
    # So short a training would hardly be blessed otherwise.
    settings += ["gate.rating_baseline=global_mean", "gate.retrieval_baseline=popularity"]
    settings += ["gate.slice_baseline=global_mean", "gate.max_regression=9"]
    settings += ["index.target_recall=0", "evaluation.native_rows=0"]
    command = [*T2REC, "run", "--data", str(run.data), "--root", str(root), "--set", *settings]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as zeroth:
        try:
            # Anything else ends the process, or never comes.
            wait_until(
                lambda: (
                    zeroth.poll() is not None
                    or list((root / "checkpoints").glob("*/*/*-steps.json"))
                ),
                seconds=600,
            )
            assert zeroth.poll() is None
        finally:
            zeroth.kill()
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        for line in first.stderr:
            lines.append(line)
            if "CandidateIndexer ..." in line:
                first.send_signal(signal.SIGKILL)
                break
    assert first.returncode == -signal.SIGKILL, lines
    assert not any("Trainer: unchanged" in line and "Baseline" not in line for line in lines)
    assert not (root / "serving").exists()
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    unchanged = {
        line.split("] ")[1].split(":")[0]
        for line in second.stderr.splitlines()
        if ": unchanged" in line
    }
    assert {"YelpExampleGen", "Transform.users", "Trainer"} <= unchanged
    assert not {"CandidateIndexer", "Evaluator", "Pusher"} & unchanged
    for name in ("t2rec", "t2rec_scann"):
        assert [v for v in os.listdir(root / "serving" / name) if v.isdigit()]
    log = (root / "logs" / "run.log").read_text(encoding="utf-8")
    assert "going on with rating-" in log
    assert "a cold start: the latest blessed model was trained without training.warm_start" in log
    assert not (root / "checkpoints").exists()
    # In this process, which has TFX already.
    caplog.set_level(logging.INFO, "t2rec")
    report = local_runner.run(config.load_config(None, settings), str(run.data), Root(str(root)))
    assert report["blessing"]["blessed"] is True
    assert "trying a start from the latest blessed model" in caplog.text
    assert "starts cold" not in caplog.text
    for choice in report["training"]["choices"].values():
        assert choice["trials"][0]["recipe"]["warm_start"] is True


@pytest.mark.slow
def test_query_prints_real_ids(run, capsys):
    from pipeline import cli

    def query(*args):
        code = cli.main(["query", user, *map(str, args)])
        return code, *capsys.readouterr()

    with open(run.data / "yelp_academic_dataset_review.json", encoding="utf-8") as file:
        user = json.loads(file.readline())["user_id"]
    done = t2rec("query", user, "--model", run.root, "--k", 3, "--exclude-seen")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"for user {user}"
    ids = [line.split()[1] for line in lines[3:]]
    assert len(ids) == 3
    businesses = (run.data / "yelp_academic_dataset_business.json").read_text(encoding="utf-8")
    assert all(f'"business_id":"{i}"' in businesses for i in ids)
    narrow = ("--k", 500, "--open-at", "Fri 20:00", "--min-stars", 3.5)
    code, told, errors = query("--model", run.root, *narrow)
    assert code == 0, errors
    stars = [float(line.split()[-1]) for line in told.splitlines()[3:]]
    assert 0 < len(stars) < 500
    assert min(stars) >= 3.5
    code, told, _ = query("--model", run.root, "--category", "Nowhere to be found")
    assert (code, told.splitlines()[0]) == (0, f"for user {user}")
    assert "no business passes all filters" in told
    code, _, errors = query("--model", run.root, "--open-at", "some time")
    assert code == 2
    assert "such as 'Fri 21:00' for --open-at; got 'some time'" in errors
    missing = t2rec("query", user, "--model", run.root / "nowhere")
    assert missing.returncode == 1
    assert missing.stderr.startswith("t2rec: Expected an exported model")


@pytest.mark.slow
def test_refresh_pushes_a_version_with_other_businesses_and_users(run, tmp_path, capsys):
    """First with everybody, which changes no answer; then one is gone and one is new."""
    from pipeline import cli
    from serving.client import LocalClient

    root = tmp_path / "root"
    shutil.copytree(run.root / "serving", root / "serving")
    files = {name: run.data / f"yelp_academic_dataset_{name}.json" for name in ("business", "user")}
    lines = files["user"].read_text(encoding="utf-8").splitlines()
    users = [json.loads(line)["user_id"] for line in lines[:50]] + ["nobody"]
    refresh = ["refresh", "--model", root, "--target-recall", 0.9]

    def lists(k=5):
        return LocalClient(str(root)).recommend(users, k=k)

    def main(*args):
        code = cli.main(list(map(str, args)))
        return code, *capsys.readouterr()

    def scores():
        """By user, the score of every business."""
        return [{r.business_id: r.score for r in row} for row in lists(10_000)]

    before, scores_before = lists(), scores()
    same = t2rec(*refresh, "--businesses", files["business"], "--users", files["user"])
    assert same.returncode == 0, same.stderr
    assert "0 new businesses, 0 removed businesses" in same.stdout
    assert "0 new users, 0 removed users" in same.stdout
    for name in ("t2rec", "t2rec_scann"):
        assert len(os.listdir(root / "serving" / name)) == 2
    for found, expected in zip(scores(), scores_before, strict=True):
        assert found == pytest.approx(expected, abs=0.05)
    # Scores may move by that much, and so may places, but not those of who is clearly ahead.
    num_compared = 0
    for row, expected in zip(lists(), before, strict=True):
        for place in range(4):
            gap = expected[place].score - expected[place + 1].score
            if gap > 0.1:
                best = {r.business_id for r in expected[: place + 1]}
                assert {r.business_id for r in row[: place + 1]} == best
                num_compared += 1
    assert num_compared > 20

    lines = files["business"].read_text(encoding="utf-8").splitlines()
    gone = before[0][0].business_id
    kept = [line for line in lines if f'"business_id":"{gone}"' not in line]
    assert len(kept) == len(lines) - 1
    new = {**json.loads(kept[0]), "business_id": "brand new", "name": "Brand & New"}
    businesses = tmp_path / "businesses.json"
    businesses.write_text("\n".join([*kept, json.dumps(new), "{broken"]), encoding="utf-8")
    code, told, _ = main(*refresh, "--businesses", businesses)
    assert code == 0
    assert "1 new businesses, 1 removed businesses, 1 rejected lines" in told
    found = {recommended.business_id for row in lists(len(lines)) for recommended in row}
    assert gone not in found
    assert "brand new" in found
    assert LocalClient(str(root)).describe(["brand new"])[0].name == "Brand & New"

    broken = tmp_path / "broken.json"
    broken.write_text("[]\n" * 3, encoding="utf-8")
    code, _, told = main(*refresh, "--businesses", broken)
    assert (code, "3 of 3 are. The first: not a JSON object" in told) == (1, True)
    # The businesses of another run, perhaps.
    broken.write_text(json.dumps(new), encoding="utf-8")
    code, _, told = main(*refresh, "--businesses", broken)
    assert (code, f"got one that lacks {len(lines) - 1:,} of them" in told) == (1, True)
    code, told, _ = main(*refresh[:3], "--users", files["user"], "--target-recall", 1.1)
    assert (code, "nothing was pushed" in told) == (3, True)
    assert main(*refresh[:3])[0] == 2
    assert len(os.listdir(root / "serving" / "t2rec")) == 3


@pytest.mark.slow
def test_score_writes_parquet_for_users_and_pairs(run, tmp_path):
    import pandas as pd

    users = t2rec("score", "--model", run.root, "--users", "all", "-k", 2, "--out", tmp_path / "u")
    assert users.returncode == 0, users.stderr
    frame = pd.read_parquet(tmp_path / "u")
    assert list(frame.columns) == ["user_id", "rank", "business_id", "score", "rating"]
    assert len(frame) == 2 * run.report["dataset"]["num_users"]
    pairs = tmp_path / "pairs.csv"
    frame[["user_id", "business_id"]].head(10).to_csv(pairs, index=False)
    rated = t2rec("score", "--model", run.root, "--pairs", pairs, "--out", tmp_path / "p")
    assert rated.returncode == 0, rated.stderr
    merged = pd.read_parquet(tmp_path / "p").merge(frame, on=["user_id", "business_id"])
    assert len(merged) == 10
    assert (merged["rating_x"] - merged["rating_y"]).abs().max() < 1e-3
    strangers = tmp_path / "strangers.txt"
    strangers.write_text("one\ntwo\n")
    asked = ("score", "--model", run.root, "--users", strangers)
    done = t2rec(*asked, "--out", tmp_path / "s")
    assert (done.returncode, "the model knows none of them" in done.stderr) == (0, True)
    done = t2rec(*asked, "--out", tmp_path / "c", "--category", "No such")
    assert (done.returncode, "nothing was found" in done.stderr) == (0, True)


@pytest.mark.slow
def test_compile_writes_a_spec_with_every_component(run, tmp_path):
    out = tmp_path / "spec.json"
    scored = ("--set", "batch_scoring.enabled=true")
    done = t2rec("compile", "--image", "example.org/t2rec:1", "--out", out, *scored)
    assert done.returncode == 0, done.stderr
    spec = json.loads(out.read_text(encoding="utf-8"))["pipelineSpec"]
    parameters = {"data", "data_version", "serving_dir", "checkpoint_dir"}
    assert set(spec["root"]["inputDefinitions"]["parameters"]) == parameters
    tasks = spec["components"]["tfx-dag"]["dag"]["tasks"]
    assert {name.replace(".", "-") for name in run.report["timings"]} == set(tasks)
    assert "AnomalyGate" in tasks["Transform-users"]["dependentTasks"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--pairs", "p.csv", "--category", "Bars", "--exclude-seen"], "got --exclude-seen, --cat"),
        (
            ["--users", "all", "--near", "36", "-115", "0"],
            "over 0 km as the third number",
        ),
    ],
)
def test_filters_that_would_count_for_nothing_are_refused(tmp_path, given, message):
    done = t2rec("score", "--model", tmp_path, "--out", tmp_path / "out", *given)
    _check_is_one_line(done, 2, [message])
