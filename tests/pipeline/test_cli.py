from pipeline import cli


def test_data_may_be_given_several_times():
    parse = cli.build_parser().parse_args
    assert parse(["run", "--root", "r", "--data", "b", "--data", "a"]).data == ["b", "a"]
    assert parse(["run", "--root", "r"]).data is None


def test_theory_needs_at_least_one_process(tmp_path, capsys):
    assert cli.main(["theory", "rate", "--out", str(tmp_path / "out"), "--jobs", "0"]) == 2
    assert "Expected --jobs of at least 1; got 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
