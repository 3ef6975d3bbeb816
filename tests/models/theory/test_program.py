import dataclasses
import json

import pytest

from models.errors import InputError
from models.theory import experiments
from models.theory.finished_runs import read_runs, report_runs
from models.theory.program import EXPERIMENTS, run_experiments
from models.theory.results import Results
from models.theory.rivals import OURS, RivalCell, report_compare, report_limits, run_rival


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    experiment = EXPERIMENTS["dimension"]
    results = Results(str(tmp_path / "dimension.csv"), experiment.keys, experiment.values)
    *done, missing = experiment.cells(experiments.QUICK)
    for cell in done:
        results.add({**dataclasses.asdict(cell), "two_nn": 4.5, "mle": 4.5, "cpu_seconds": 9.0})
    text = run_experiments(["dimension"], experiments.QUICK, str(tmp_path), num_jobs=1)
    rows = Results(str(tmp_path / "dimension.csv"), experiment.keys, experiment.values).rows
    assert len(rows) == len(done) + 1
    assert {row["two_nn"] for row in rows[:-1]} == {"4.5"}
    assert rows[-1]["manifold"] == missing.manifold
    assert float(rows[-1]["two_nn"]) != 4.5
    assert f"(`dimension`: {len(rows)} of {len(rows)} runs)" in text
    assert (tmp_path / "summary.md").read_text() == text
    assert json.loads((tmp_path / "versions.json").read_text())["profile"] == experiments.QUICK
    with pytest.raises(InputError, match="holds those of the quick one. Choose another --out"):
        run_experiments(["dimension"], experiments.FULL, str(tmp_path), num_jobs=1)


@pytest.mark.parametrize("name", experiments.NAMES)
@pytest.mark.parametrize("profile", experiments.PROFILES)
def test_columns_are_the_fields_of_distinct_cells(name, profile):
    cells = EXPERIMENTS[name].cells(profile)
    assert len(set(cells)) == len(cells) > 0
    for cell in cells:
        assert tuple(dataclasses.asdict(cell)) == EXPERIMENTS[name].keys


def test_a_baseline_is_measured_on_cold_users_too():
    cell = RivalCell("x", "bias", 2_000, 20, True, 0.3, seed=1, tuning_seconds=0.0)
    values = run_rival(cell)
    assert set(values) == set(EXPERIMENTS["compare"].values)
    # Of cold users their biases are unknown; the noise alone has .7 stars.
    assert values["cold_rmse"] > values["rmse"] > 0.7


def _rows(rmse_by_model):
    rows = []
    for model, values in rmse_by_model.items():
        for seed, rmse in enumerate(values):
            cell = RivalCell("few", model, 500, 20, True, 0.0, seed, 0.0)
            row = {**dataclasses.asdict(cell), "rmse": rmse, "cold_rmse": "nan"}
            rows.append({key: str(value) for key, value in row.items()})
    return rows


def test_the_comparison_gives_means_and_standard_errors():
    # Means 1.1 and .9; standard deviations √.02 and 0, over the root of 2.
    text = report_compare(_rows({OURS: [1.0, 1.2], "svd": [0.9, 0.9]})).text
    assert "| t2rec | 1.1000 (0.1000) |" in text
    assert "| svd | 0.9000 (0.0000) |" in text


def test_the_limits_name_the_rivals_that_win():
    text = report_limits(_rows({OURS: [1.0, 1.2], "svd": [0.9, 0.9], "bias": [1.3, 1.3]})).text
    assert "| few | 1.1000 (0.1000) | -0.2000 (0.1000) | +0.2000 (0.1000) | loses to svd |" in text


def _write_run(root, t2rec, bias):
    def measured(rmse, cold):
        # A city's ratings say nothing about what is known of whom.
        slices = {"city=Here": {"rmse": {"value": 9.0}}, "cold_user": {"rmse": {"value": cold}}}
        return {"rmse": {"value": rmse, "low": 0.0, "high": 9.0}, "slices": slices}

    models = {"bias": measured(*bias), "t2rec": measured(*t2rec)}
    (root / "report").mkdir(parents=True)
    metrics = {"rating": {"test": {"models": models}}}
    (root / "report" / "metrics.json").write_text(json.dumps(metrics))
    return str(root)


def test_finished_runs_are_compared_with_the_best_model_first(tmp_path):
    roots = [
        _write_run(tmp_path / "a", t2rec=(1.0, 1.1), bias=(1.2, 1.3)),
        _write_run(tmp_path / "b", t2rec=(1.0, 1.3), bias=(1.4, 1.3)),
    ]
    rows = [{key: str(value) for key, value in row.items()} for row in read_runs(roots)]
    header, _, first, second = report_runs(rows).splitlines()
    assert header == "| RMSE in stars, mean (standard error) | all ratings | cold users |"
    # Of two values the standard error is half of their distance.
    assert first == "| t2rec | 1.0000 (0.0000) | 1.2000 (0.1000) |"
    assert second == "| bias | 1.3000 (0.1000) | 1.3000 (0.0000) |"


def test_a_root_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="Expected the root of a finished run"):
        read_runs([str(tmp_path)])
