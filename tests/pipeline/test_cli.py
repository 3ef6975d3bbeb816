from pipeline import cli


def test_data_may_be_given_several_times():
    parse = cli.build_parser().parse_args
    assert parse(["run", "--root", "r", "--data", "b", "--data", "a"]).data == ["b", "a"]
    assert parse(["run", "--root", "r"]).data is None
