import shutil
import subprocess
import sys

import numpy as np
import pytest

from models.errors import InputError
from serving import loader
from serving.errors import InvalidRequestError, UnknownSignatureError


def _decoded(outputs, row):
    columns = [outputs[name][row].tolist() for name in ("business_id", "score", "rating")]
    return [(i.decode(), s, r) for i, s, r in zip(*columns, strict=True)]


def _assert_same(found, expected):
    assert [f[0] for f in found] == [e[0] for e in expected]
    np.testing.assert_allclose(
        [f[1:] for f in found], [e[1:] for e in expected], rtol=1e-4, atol=1e-4
    )


class TestExactModel:
    def test_name_and_version_come_from_the_folders(self, exact_model):
        assert (exact_model.name, exact_model.version) == ("t2rec", 3)

    def test_signatures_know_types_shapes_and_defaults(self, exact_model):
        inputs = exact_model.signatures["recommend"].inputs
        assert inputs["user_id"].dtype == "string"
        assert inputs["user_id"].shape == (-1,)
        assert inputs["user_id"].default is None
        assert inputs["k"].default.tolist() == [10]
        assert inputs["exclude_business_id"].default.tolist() == [[b""]]
        assert exact_model.signatures["rate"].outputs == {"rating": ("float32", (-1,))}

    @pytest.mark.parametrize(
        "request_",
        [
            {},
            {"k": 3},
            {"exclude_seen": True, "k": 30},
            {"category": "Pizza"},
            {"category": "Tea", "city": "Reno"},
            {"category": "no such category"},
            {"exclude_business_ids": ["place-0001", "place-0004", "unknown place"]},
        ],
    )
    def test_recommend_equals_sorting_all_scores(self, exact_export, exact_model, request_):
        users = ["user-00", "user-17", "nobody"]
        inputs = {name.replace("ids", "id"): [value] for name, value in request_.items()}
        outputs = exact_model.call("recommend", {"user_id": users, **inputs})
        for row, user in enumerate(users):
            expected = exact_export.recommend(user, **request_)
            found = _decoded(outputs, row)
            _assert_same(found[: len(expected)], expected)
            assert set(found[len(expected) :]) <= {("", -np.inf, 0.0)}

    def test_k_beyond_the_catalogue_pads(self, exact_export, exact_model):
        outputs = exact_model.call("", {"user_id": ["user-01"], "k": [35]})
        found = _decoded(outputs, 0)
        _assert_same(found[:30], exact_export.recommend("user-01", k=35))
        assert found[30:] == [("", -np.inf, 0.0)] * 5

    def test_each_row_may_have_its_own_k_and_filters(self, exact_export, exact_model):
        outputs = exact_model.call(
            "recommend",
            {
                "user_id": ["user-01", "user-02"],
                "k": [2, 4],
                "category": ["", "Bars"],
                "exclude_seen": [True, False],
            },
        )
        _assert_same(
            _decoded(outputs, 0)[:2], exact_export.recommend("user-01", k=2, exclude_seen=True)
        )
        assert outputs["business_id"][0, 2:].tolist() == [b"", b""]
        _assert_same(_decoded(outputs, 1), exact_export.recommend("user-02", k=4, category="Bars"))

    def test_rate_knows_cold_users_and_businesses(self, exact_export, exact_model):
        pairs = [("user-03", "place-0007"), ("nobody", "place-0007"), ("user-03", "nowhere")]
        users, businesses = zip(*pairs, strict=True)
        outputs = exact_model.call("rate", {"user_id": users, "business_id": businesses})
        expected = [exact_export.rate(*pair) for pair in pairs]
        np.testing.assert_allclose(outputs["rating"], expected, rtol=1e-4)

    def test_similar_compares_directions_only_and_leaves_itself_out(
        self, exact_export, exact_model
    ):
        outputs = exact_model.call("similar", {"business_id": ["place-0005"], "k": [29]})
        directions = exact_export.tables.candidate_embeddings[:30, :6]
        scores = directions @ directions[5]
        order = [row for row in np.argsort(-scores, kind="stable") if row != 5]
        assert outputs["business_id"][0].tolist() == [b"place-%04d" % row for row in order]
        np.testing.assert_allclose(outputs["score"][0], scores[order], rtol=1e-4, atol=1e-4)

    def test_embeddings_are_those_of_the_tables(self, exact_export, exact_model):
        tables = exact_export.tables
        queries = exact_model.call("embed_query", {"user_id": ["user-39", "nobody"]})
        np.testing.assert_array_equal(queries["embedding"], tables.query_embeddings[[39, 40]])
        found = exact_model.call("embed_candidate", {"business_id": ["place-0002", ""]})
        np.testing.assert_array_equal(found["embedding"], tables.candidate_embeddings[[2, 30]])

    def test_recommend_features_embeds_a_history(self, exact_export, exact_model):
        tables = exact_export.tables
        outputs = exact_model.call(
            "recommend_features",
            {
                "history_business_id": [["place-0003", "place-0008", "unknown"], ["", "", ""]],
                "history_stars": [[5.0, 0.0, 4.0], [0.0, 0.0, 0.0]],
                "fans": [100, -1],
                "k": [30],
            },
        )
        # The stand-in encoder adds up the directions of the known businesses, rated or not ...
        direction = tables.candidate_embeddings[[3, 8], :6].sum(axis=0)
        scores = tables.candidate_embeddings[:30, :7] @ np.append(direction, 1.0)
        order = np.argsort(-scores, kind="stable")
        assert outputs["business_id"][0].tolist() == [b"place-%04d" % row for row in order]
        # ... and its bias is 3 + the residuals of the ratings + fans / 100. An unknown business
        # has no bias.
        residuals = (5.0 - 3.5 - tables.business_bias[3]) + (4.0 - 3.5)
        stars = np.clip(3.0 + residuals + 1.0 + tables.candidate_embeddings[order, -1], 1, 5)
        np.testing.assert_allclose(outputs["rating"][0], stars, rtol=1e-4)
        # Without history only popularity counts, and -1 fans are the stand-in's -0.01.
        popular = np.argsort(-tables.candidate_embeddings[:30, 6], kind="stable")
        assert outputs["business_id"][1].tolist() == [b"place-%04d" % row for row in popular]
        stars = np.clip(3.0 - 0.01 + tables.candidate_embeddings[popular, -1], 1, 5)
        np.testing.assert_allclose(outputs["rating"][1], stars, rtol=1e-4)

    def test_recommend_features_can_exclude_the_history(self, exact_model):
        history = {"history_business_id": [["place-0003"]], "history_stars": [[5.0]], "k": [30]}
        outputs = exact_model.call("recommend_features", {**history, "exclude_seen": [True]})
        assert b"place-0003" not in outputs["business_id"]
        assert outputs["business_id"][0, -1] == b""

    @pytest.mark.parametrize(
        ("signature", "inputs", "message"),
        [
            ("rate", {"user_id": ["a"]}, r"1!=2 .*Missing but required: \{business_id\}"),
            ("recommend", {"user_id": ["a"], "n": [1]}, r"Sent extra: \{n\}"),
            ("recommend", {"user_id": ["a"], "k": ["3"]}, "'k' to be int32 but string is"),
            ("recommend", {"user_id": ["a"], "k": [3.0]}, "'k' to be int32 but float64 is"),
            ("recommend", {"user_id": ["a"], "k": [2**32 + 5]}, "4294967301 to int32 without loss"),
            ("recommend", {"user_id": ["a"], "k": 3}, r"'k' to have shape \[-1\] but \[\] is"),
            ("recommend", {"user_id": ["a", 5]}, "'user_id' to be string but int is provided"),
            ("recommend", {"user_id": ["a"], "k": [0]}, "k must be from 1 to 10000 in every row"),
            ("recommend", {"user_id": ["a"], "k": [10_001]}, "k must be from 1 to 10000 in"),
            ("similar", {"business_id": ["a"], "k": [-1]}, "k must be from 1 to 10000 in every"),
            ("recommend", {"user_id": ["a", "b"], "k": [1, 2, 3]}, r"Incompatible shapes"),
            ("rate", {"user_id": ["a", "b"], "business_id": ["c"]}, "as many business ids as user"),
            ("recommend_features", {"history_stars": [[1e300]]}, "to float32 without loss"),
            (
                "recommend_features",
                {"history_business_id": [["a", "b"]], "history_stars": [[1.0]]},
                "must have the same shape",
            ),
        ],
    )
    def test_unfit_inputs_are_refused(self, exact_model, signature, inputs, message):
        with pytest.raises(InvalidRequestError, match=message):
            exact_model.call(signature, inputs)

    def test_words_of_the_model_stand_alone(self, exact_model):
        with pytest.raises(InvalidRequestError) as error:
            exact_model.call("recommend", {"user_id": ["a"], "within_km": [-1.0]})
        assert str(error.value) == "within_km must be 0 (anywhere) or a distance over it."

    def test_unknown_signature_is_refused(self, exact_model):
        with pytest.raises(UnknownSignatureError, match='signature key "nope" not found'):
            exact_model.call("nope", {})


def test_all_parts_of_an_assertion_are_told(tiny):
    with pytest.raises(InvalidRequestError) as error:
        loader.load_model(str(tiny)).call("", {"x": [2e6]})
    words = str(error.value)
    assert words.startswith("x must be small. Condition x < y did not hold element-wise: ")
    assert "2e+06" in words
    assert not {*"{}[]"} & {*words}


def test_broken_saved_model_is_an_input_error(exact_export, tmp_path):
    broken = tmp_path / "1"
    shutil.copytree(f"{exact_export.path}/3", broken)
    (broken / "variables" / "variables.index").unlink()
    with pytest.raises(InputError, match="Expected a whole SavedModel .* Export it again"):
        loader.load_model(str(broken))
    (broken / "saved_model.pb").write_bytes(b"not a proto")
    with pytest.raises(InputError, match="got 11 bytes of something else"):
        loader.load_model(str(broken))


_CALL_IN_NEW_PROCESS = """
import sys
from serving.loader import load_model
model = load_model(sys.argv[1])
assert ("scann" in sys.modules) == (sys.argv[2] == "approximate"), "scann imported or not"
found = model.call("recommend", {"user_id": ["user-05"], "k": [3]})["business_id"][0]
sys.stdout.write(b",".join(found).decode())
"""


def _recommend_in_new_process(path, kind):
    command = [sys.executable, "-c", _CALL_IN_NEW_PROCESS, path, kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(",")


def test_exact_model_needs_no_scann(exact_export):
    found = _recommend_in_new_process(exact_export.path, "exact")
    assert found == [best[0] for best in exact_export.recommend("user-05", k=3)]


def test_new_process_loads_the_scann_model(scann_export):
    found = _recommend_in_new_process(scann_export.path, "approximate")
    assert found == [best[0] for best in scann_export.recommend("user-05", k=3)]


class TestScannModel:
    @pytest.fixture(scope="class")
    def model(self, scann_export):
        return loader.load_model(scann_export.path)

    @pytest.mark.parametrize(
        "request_",
        [
            {},
            {"k": 50, "exclude_seen": True},
            {"category": "Bars", "city": "Reno"},  # Answered exactly.
            {"k": 700},  # More than the index fetches at once: answered exactly.
        ],
    )
    def test_searching_all_leaves_equals_the_exact_answer(self, scann_export, model, request_):
        users = ["user-00", "user-21", "nobody"]
        inputs = {name: [value] for name, value in request_.items()}
        outputs = model.call("recommend", {"user_id": users, **inputs})
        for row, user in enumerate(users):
            expected = scann_export.recommend(user, **request_)
            _assert_same(_decoded(outputs, row)[: len(expected)], expected)

    def test_excluded_businesses_make_room_for_the_next(self, scann_export, model):
        best = tuple(found[0] for found in scann_export.recommend("user-04", k=100))
        inputs = {"user_id": ["user-04"], "k": [5], "exclude_business_id": [best]}
        expected = scann_export.recommend("user-04", k=5, exclude_business_ids=best)
        _assert_same(_decoded(model.call("recommend", inputs), 0), expected)
