import json

import pytest

from models.errors import InputError
from pipeline import report_folder
from pipeline.report_folder import ReportFolder


@pytest.fixture
def build(monkeypatch):
    """Replaces drawing, which has tests of its own, by telling what is drawn."""
    from components.report import page

    monkeypatch.setattr(page, "build", lambda *parts: json.dumps(parts))
    monkeypatch.setattr(page, "compare", json.dumps)


def run(rmse, seconds=1.0):
    return {"rmse": rmse, "timings": {"Trainer": seconds}}, {"users": [rmse]}


def drawn(folder):
    with open(folder.build(), encoding="utf-8") as file:
        return json.load(file)


def test_a_first_run_has_nothing_before_it(build, tmp_path):
    folder = ReportFolder(str(tmp_path / "report"))
    folder.write(*run(1.0))
    assert drawn(folder) == [*run(1.0), None]


def test_another_run_is_compared_with_the_one_before(build, tmp_path):
    folder = ReportFolder(str(tmp_path))
    folder.write(*run(1.0))
    folder.write(*run(0.9))
    before = {"metrics": run(1.0)[0], "page": run(1.0)[1]}
    assert drawn(folder) == [*run(0.9), before]
    # The same run again, all of it out of the cache, is not the run before itself.
    folder.write(*run(0.9, seconds=0.1))
    assert drawn(folder) == [*run(0.9, seconds=0.1), before]


def test_without_a_run_there_is_no_page(tmp_path):
    with pytest.raises(InputError, match=r"Expected the report of a run in .*got no metrics.json"):
        ReportFolder(str(tmp_path)).build()


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "metrics.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"Expected JSON in .*metrics.json"):
        ReportFolder(str(tmp_path)).build()


def test_two_runs_are_set_side_by_side(build, tmp_path):
    folders = [ReportFolder(str(tmp_path / name)) for name in "ab"]
    for folder, rmse in zip(folders, (1.0, 0.9), strict=True):
        folder.write(*run(rmse))
    out = tmp_path / "both.html"
    report_folder.compare(*folders, ("a", "b"), str(out))
    assert json.loads(out.read_text()) == [["a", *run(1.0)], ["b", *run(0.9)]]
    with pytest.raises(InputError, match="got no metrics.json"):
        report_folder.compare(folders[0], ReportFolder(str(tmp_path / "c")), ("a", "c"), str(out))
