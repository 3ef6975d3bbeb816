import pytest

from pipeline import cli


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
