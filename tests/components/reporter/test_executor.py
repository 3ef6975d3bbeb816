import json

from tfx.types import standard_artifacts

from components import artifacts
from components.reporter import executor


def test_the_counts_of_the_ingestion_reach_the_report(tmp_path):
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
        "evaluation": (artifacts.Evaluation, {"metrics.json": {"blessing": {"blessed": True}}}),
        "index_evaluation": (artifacts.Evaluation, {"metrics.json": {"recall@10": 1.0}}),
        "model_run": (standard_artifacts.ModelRun, {"history.json": {}}),
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
    written = json.loads((tmp_path / executor.METRICS_FILE).read_text())
    assert written["splits"] == summary.pop("split")
    assert written["dataset"] == summary
    assert written["blessing"] == {"blessed": True}
