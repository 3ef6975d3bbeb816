from pipeline import console


def test_table_aligns_the_first_column_left_and_the_others_right():
    assert console.table(["name", "n"], [["a", "10"], ["longer", "2"]]).splitlines() == [
        "name     n",
        "------  --",
        "a       10",
        "longer   2",
    ]


def test_metrics_tables_show_models_slices_and_reasons():
    interval = {"value": 1.0, "low": 0.5, "high": 1.5}
    rated = {
        "rmse": interval,
        "mae": interval,
        "slices": {"cold_user": {"rmse": {**interval, "value": 1.25}}},
    }
    listed = {key: interval for key in ("recall@10", "recall@20", "ndcg@20", "mrr")}
    text = console.metrics_tables({
        "rating": {"test": {"models": {"t2rec": rated}}},
        "retrieval": {
            "test": {"models": {"popularity": {**listed, "coverage@20": {"value": 0.5}}}}
        },
        "index": {"recall@10": 0.991, "speedup_vs_exact": 2.0, "num_candidates": 1_200},
        "blessing": {"blessed": False, "reasons": ["FAILED: too bad"]},
    })
    rating, retrieval, index, verdict = text.split("\n\n")
    # A slice without ratings is said to be empty.
    assert rating.splitlines()[2].split() == [
        "t2rec", "1.0000", "[0.5000,", "1.5000]", "1.0000", "[0.5000,", "1.5000]", "1.2500", "none",
    ]  # fmt: skip
    assert retrieval.splitlines()[2].startswith("popularity")
    assert index == (
        "index: recall@10 against exact search 0.991, 2.0 x as fast over 1,200 candidates"
    )
    assert verdict.splitlines() == ["NOT blessed:", "  FAILED: too bad"]


def test_metrics_tables_rank_models_and_name_what_was_skipped():
    def rated(value):
        interval = {"value": value, "low": value, "high": value}
        return {"rmse": interval, "mae": interval, "slices": {}}

    models = {"t2rec": rated(1.1), "bias": rated(1.2), "ridge": rated(1.0)}
    text = console.metrics_tables({
        "rating": {"test": {"models": models, "skipped": {"svd": "it would take about 900 s"}}},
        "index": {"recall@10": 1.0, "speedup_vs_exact": 2.0, "num_candidates": 9},
        "blessing": {"blessed": True, "reasons": []},
    })
    table, skipped, _, _ = text.split("\n\n")
    assert [line.split()[0] for line in table.splitlines()[2:]] == ["ridge", "t2rec", "bias"]
    assert skipped.splitlines() == ["skipped:", "  svd (rating): it would take about 900 s"]
