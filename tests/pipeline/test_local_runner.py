import json

from pipeline import local_runner


def test_only_data_of_one_truth_has_a_noise_floor(tmp_path):
    """Several folders, such as spans, may be of different truths, and a bucket has none here."""
    paths = []
    for name, floor in (("a", 0.7), ("b", 0.8)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "truth.json").write_text(json.dumps({"noise_floor_rmse": floor}))
        paths.append(str(tmp_path / name))
    assert local_runner._noise_floor(paths[:1]) == 0.7
    assert local_runner._noise_floor(paths) == 0.0
    assert local_runner._noise_floor([str(tmp_path)]) == 0.0
    assert local_runner._noise_floor(["gs://bucket/data"]) == 0.0
