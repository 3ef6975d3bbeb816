import subprocess
import sys

import pytest

from models.errors import InputError
from pipeline import cli, config


def test_data_may_be_given_several_times():
    parse = cli.build_parser().parse_args
    assert parse(["run", "--root", "r", "--data", "b", "--data", "a"]).data == ["b", "a"]
    assert parse(["run", "--root", "r"]).data is None


def test_theory_needs_at_least_one_process(tmp_path, capsys):
    assert cli.main(["theory", "rate", "--out", str(tmp_path / "out"), "--jobs", "0"]) == 2
    assert "Expected --jobs of at least 1; got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("user_id", ["-zV77ip5jRM7cjD2IY1lQ", "--zV77ip5jRM7cjD2IY1lQ"])
def test_id_that_begins_with_a_dash_goes_behind_two(user_id, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["query", "--model", "m", user_id])
    assert f"unrecognized arguments: {user_id} (an id that begins" in capsys.readouterr().err
    given = cli.build_parser().parse_args(["query", "--model", "m", "--", user_id])
    assert given.user_ids == [user_id]


def test_excluded_ids_take_no_user_along(capsys):
    assert cli.main(["query", "--model", "m", "--exclude", "place", "user"]) == 2
    assert "as --exclude takes all ids behind it. Put USER_ID first" in capsys.readouterr().err


@pytest.fixture
def held(tmp_path):
    """A root that another process holds, until it is told to end."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "metadata.sqlite").touch()
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX);"
        "print('locked', file=file, flush=True); print('there', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(root / ".lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "there\n"
        yield root, other
        other.communicate("")


def test_one_run_at_a_time_has_a_root(held, tmp_path, capsys):
    root, other = held
    assert cli.main(["run", "--data", str(tmp_path), "--root", str(root)]) == 1
    told = capsys.readouterr().err
    assert f"Expected no other run or refresh on {str(root)!r}; got that of process locked" in told
    other.communicate("")
    # It is free again, and the data are looked at.
    assert cli.main(["run", "--data", str(tmp_path), "--root", str(root)]) == 1
    assert "no other run" not in capsys.readouterr().err


def test_nothing_is_refreshed_while_a_run_has_the_root(held, monkeypatch, capsys):
    root, _ = held
    monkeypatch.setattr("pipeline.refresh.refresh_export", None)
    (root / "serving" / "t2rec").mkdir(parents=True)
    for model in (root, root / "serving" / "t2rec"):
        assert cli.main(["refresh", "--model", str(model), "--users", "users.json"]) == 1
        assert f"no other run or refresh on {str(root)!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "taken"), [([], (0.99, 0.01)), (["--target-recall", "0"], (0.0, 0.01))]
)
def test_a_refresh_asks_of_an_index_and_a_file_what_a_run_does(given, taken, monkeypatch, capsys):
    settings = config.PipelineConfig()
    assert (settings.index.target_recall, settings.max_reject_fraction) == (0.99, 0.01)
    asked = []

    def refresh(model, businesses, users, target_recall, max_reject_fraction, max_removed):
        asked.append((target_recall, max_reject_fraction))
        raise InputError("enough")

    monkeypatch.setattr("pipeline.refresh.refresh_export", refresh)
    assert cli.main(["refresh", "--model", "m", "--users", "users.json", *given]) == 1
    assert asked == [taken]


def test_a_job_server_and_options_of_beam_are_told_apart(monkeypatch):
    seen = []
    monkeypatch.setattr("pipeline.commands.score", lambda args: seen.append(args) or 0)
    score = ["score", "--model", "m", "--users", "all", "--out", "o"]
    assert cli.main([*score, "--beam", "flink://host:1", "--parallelism=2"]) == 0
    assert seen[0].beam_server == "flink://host:1"
    assert seen[0].beam_options == ["--parallelism=2"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("KeyboardInterrupt [while running 'Score']"), 130, "interrupted; run the"),
        (PermissionError(13, "Permission denied", "/ro"), 1, "Expected to be allowed to read"),
    ],
)
def test_what_is_no_defect_is_not_called_one(error, code, message, monkeypatch, capsys):
    def fail(_):
        raise error

    monkeypatch.setattr("pipeline.commands.doctor", fail)
    assert cli.main(["doctor"]) == code
    told = capsys.readouterr().err
    assert message in told and "defect" not in told
