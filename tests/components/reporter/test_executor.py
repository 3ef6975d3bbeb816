import json

import pytest
from tfx.types import standard_artifacts

from components import artifacts
from components.reporter import executor
from components.run_metrics import METRICS_FILE
from models.gate import Check, conclude


@pytest.mark.parametrize("problems", [[], ["rate over gRPC failed: why"]])
def test_the_counts_of_the_ingestion_and_both_verdicts_reach_the_report(tmp_path, problems):
    summary = {
        "inputs": ["yelp_dataset.tar/review.json"],
        "unknown_users": 3,
        "unknown_businesses": 2,
        "duplicates": {"repeated_review_ids": 1, "superseded_reviews": 5},
        "split": {"method": "temporal"},
        "tables": {"interactions": {"lines_read": 9, "rejected": {"not JSON": 4}}},
    }
    parts = {
        "rejects": (artifacts.Rejects, {"summary.json": summary}),
        "evaluation": (
            artifacts.Evaluation,
            {"metrics.json": {"blessing": conclude([Check("a", True)]).to_json()}},
        ),
        "index_evaluation": (artifacts.Evaluation, {"metrics.json": {"recall@10": 1.0}}),
        "model_run": (standard_artifacts.ModelRun, {"history.json": {}}),
        "infra_blessing": (standard_artifacts.InfraBlessing, {"reasons.json": problems}),
        "pushed_model": (standard_artifacts.PushedModel, {}),
    }
    inputs = {}
    for key, (kind, files) in parts.items():
        inputs[key] = [kind()]
        inputs[key][0].uri = str(tmp_path / key)
        (tmp_path / key).mkdir()
        for name, content in files.items():
            (tmp_path / key / name).write_text(json.dumps(content))
    report = artifacts.Report()
    report.uri = str(tmp_path)
    executor.Executor().Do(inputs, {"report": [report]}, {"config": "{}"})
    written = json.loads((tmp_path / METRICS_FILE).read_text())
    assert written["splits"] == summary.pop("split")
    assert written["dataset"] == summary
    assert written["blessing"]["blessed"] is not bool(problems)
    of_quality, of_serving = written["blessing"]["reasons"]
    assert of_quality == "passed: a"
    if problems:
        assert of_serving == "FAILED: rate over gRPC failed: why"
    else:
        assert of_serving.startswith("passed: both exports are served")
    kinds = [(check["kind"], check["ok"]) for check in written["blessing"]["checks"]]
    assert kinds == [("comparison", True), ("serving", not problems)]
