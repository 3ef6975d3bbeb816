from models import gate
from pipeline import console
from tests.harnesses.measured import interval


def test_table_aligns_the_first_column_left_and_the_others_right():
    assert console.table(["name", "n"], [["a", "10"], ["longer", "2"]]).splitlines() == [
        "name     n",
        "------  --",
        "a       10",
        "longer   2",
    ]


INDEX = {"recall@10": 0.991, "speedup_vs_exact": 2.0, "num_candidates": 1_200, "num_leaves": 35}


def rated(value, **slices):
    return {"rmse": interval(value, 0.5), "mae": interval(value, 0.5), "slices": slices}


def test_metrics_tables_show_models_slices_and_reasons():
    keys = ("recall@10", "recall@20", "ndcg@20", "coverage@20")
    text = console.metrics_tables({
        "rating": {"test": {"models": {
            "t2rec": rated(1.0, cold_user={"rmse": {"value": 1.25}}),
        }}},
        "retrieval": {"test": {"models": {"popularity": {key: interval(0.5) for key in keys}}}},
        "index": INDEX,
        "blessing": gate.conclude([
            gate.Check("test rmse minus that of bias is -0.1: better", True),
            gate.Check("none of 9 test rows is among the training rows", True, gate.TRIPWIRE),
            gate.Check("FAILED is no verdict minus that of words: left out", True, gate.INDEX),
            gate.Check("too bad", False, gate.SERVING),
            gate.Check("slice cold_user: nobody is in it", None),
        ]).to_json(),
    })  # fmt: skip
    rating, retrieval, index, verdict = text.split("\n\n")
    # A slice without ratings is said to be empty.
    assert rating.splitlines()[2].split() == [
        "t2rec", "1.0000", "[0.5000,", "1.5000]", "1.0000", "1.2500", "none"
    ]  # fmt: skip
    assert retrieval.splitlines()[2].startswith("popularity")
    assert index == (
        "index: recall@10 against exact search 0.991, 2.0 x as fast over 1,200 candidates"
    )
    assert verdict.splitlines() == [
        "NOT blessed:",
        "  FAILED: too bad",
        "  passed: test rmse minus that of bias is -0.1: better",
        "  left out: slice cold_user: nobody is in it",
        "  passed: 2 other checks, of the index and for leaks",
    ]
    assert max(map(len, text.splitlines())) <= 100


def test_metrics_tables_rank_models_and_name_what_was_skipped():
    models = {"t2rec": rated(1.1), "bias": rated(1.2), "ridge": rated(1.0)}
    text = console.metrics_tables({
        "rating": {"test": {"models": models, "skipped": {"svd": "it would take about 900 s"}}},
        "index": INDEX,
        "blessing": {"blessed": True, "reasons": [], "checks": []},
    })
    table, skipped, _, _ = text.split("\n\n")
    assert [line.split()[0] for line in table.splitlines()[2:]] == ["ridge", "t2rec", "bias"]
    assert skipped.splitlines() == ["skipped:", "  svd: it would take about 900 s"]


def test_of_many_models_the_best_and_ours_are_shown():
    models = {f"m{place}": rated(1.0 + place) for place in range(9)} | {"t2rec": rated(20.0)}
    text = console.metrics_tables({
        "rating": {"test": {"models": models}},
        "index": INDEX,
        "blessing": {"blessed": True, "reasons": [], "checks": []},
    })
    lines = text.split("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines[2:-1]] == [*(f"m{n}" for n in range(7)), "t2rec"]
    assert lines[-1] == "(and 2 more in the report)"


def test_a_task_that_was_not_judged_says_why():
    text = console.metrics_tables({
        "retrieval": {"test": {"models": {}, "undefined": "lists, for nobody is new"}},
        "index": INDEX,
        "blessing": {"blessed": False, "reasons": [], "checks": []},
    })
    assert text.startswith("lists: lists, for nobody is new")


def test_exact_search_in_the_place_of_an_index_is_told():
    report = {
        "index": INDEX | {"num_leaves": 0},
        "blessing": {"blessed": True, "reasons": [], "checks": []},
    }
    text = console.metrics_tables(report)
    assert "index: none, exact search of 1,200 candidates is as fast" in text
