import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from models import export, exported_tables, features, filters
from models.options import Objective
from models.places import Places
from models.query_encoder import USER_COVARIATES

_SIGNATURES = {
    "serving_default",
    "recommend",
    "recommend_features",
    "rate",
    "similar",
    "describe",
    "embed_query",
    "embed_candidate",
}
_FILTERS = {
    "k",
    "exclude_seen",
    "exclude_business_id",
    *filters.DEFAULTS,
    "min_stars",
    "retrieval_weight",
    "rating_weight",
    "shortlist",
}


@pytest.fixture(scope="module")
def signature_defs(exact_export):
    content = tf.io.gfile.GFile(f"{exact_export.path}/saved_model.pb", "rb").read()
    (graph,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    return {k: v for k, v in graph.signature_def.items() if not k.startswith("__")}


class TestSignatures:
    def test_names(self, signature_defs):
        assert set(signature_defs) == _SIGNATURES

    @pytest.mark.parametrize(
        ("signature", "inputs"),
        [
            ("serving_default", {"user_id", *_FILTERS}),
            ("recommend", {"user_id", *_FILTERS}),
            (
                "recommend_features",
                {"history_business_id", "history_stars", *USER_COVARIATES, *_FILTERS},
            ),
            ("rate", {"user_id", "business_id"}),
            ("similar", {"business_id", "k"}),
            ("embed_query", {"user_id"}),
            ("embed_candidate", {"business_id"}),
        ],
    )
    def test_inputs_are_what_a_caller_has(self, signature_defs, signature, inputs):
        assert set(signature_defs[signature].inputs) == inputs
        assert features.STARS not in inputs

    def test_every_input_is_batched(self, signature_defs):
        for definition in signature_defs.values():
            for name, info in definition.inputs.items():
                assert info.tensor_shape.dim[0].size == -1, name

    def test_optional_inputs_have_recorded_defaults(self, signature_defs):
        expected = {
            "k": [10],
            "exclude_seen": [False],
            "exclude_business_id": [[b""]],
            "category": [b""],
            "city": [b""],
            "open_at_minute": [-1],
            "latitude_degrees": [0.0],
            "longitude_degrees": [0.0],
            "within_km": [0.0],
            "min_stars": [0.0],
            "retrieval_weight": [1.0],
            "rating_weight": [0.0],
            "shortlist": [0],
        }
        recorded = {
            name: tf.make_ndarray(value).tolist()
            for name, value in signature_defs["recommend"].defaults.items()
        }
        assert recorded == expected
        assert signature_defs["serving_default"].defaults.keys() == expected.keys()
        recorded = {
            name: tf.make_ndarray(value).tolist()
            for name, value in signature_defs["recommend_features"].defaults.items()
        }
        # A new user may give nothing at all; -1 is "not known".
        assert recorded == {
            **expected,
            "history_business_id": [[b""]],
            "history_stars": [[0.0]],
            **{name: [-1] for name in USER_COVARIATES},
        }
        assert set(signature_defs["similar"].defaults) == {"k"}
        assert not signature_defs["rate"].defaults


def test_exact_export_needs_nothing_but_tensorflow(exact_export, ask_fresh_process):
    reply = ask_fresh_process(exact_export.path, {"one": ["recommend", {"user_id": ["user-000"]}]})
    assert len(reply.lists("one")[0]) == 10
    assert reply.unregistered_ops == []
    assert not [op for op in reply.ops if "scann" in op.lower()]
    assert not {"models", "scann", "tensorflow_recommenders", "tensorflow_transform"} & set(
        reply.modules
    )


class TestBuildTables:
    def test_embeddings_are_those_of_the_model(self, exact_export, trained, planted):
        tables, model = exact_export.tables, trained.model
        candidates = model.embed_candidates()
        np.testing.assert_allclose(tables.candidate_embeddings[:-1], candidates, rtol=1e-6)
        np.testing.assert_allclose(tables.candidate_embeddings[-1:], model.embed_new_candidate())
        queries = model.embed_queries(candidates, np.arange(planted.users.num_rows))
        assert tables.query_embeddings.dtype == np.float16
        np.testing.assert_allclose(tables.query_embeddings[:-1], queries, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            tables.query_embeddings[-1:], model.embed_new_query(), rtol=1e-3, atol=1e-4
        )

    def test_bias_and_counts_are_those_of_the_fitted_interactions(self, exact_export, trained):
        tables, fitted = exact_export.tables, trained.fitted
        assert tables.mean_stars == pytest.approx(float(fitted.stars.mean()), rel=1e-6)
        assert tables.mean_age_years == pytest.approx(fitted.ages_years().mean(), rel=1e-5)
        counts = np.bincount(fitted.business_rows, minlength=len(tables.business_ids))
        # Weight 1/√(count + 1), as the history's power is .5.
        np.testing.assert_allclose(tables.history_weights, (counts + 1) ** -0.5, rtol=1e-6)
        assert tables.business_bias.shape == counts.shape
        # Who has no ratings has what covariates say.
        priors = trained.model.rating.sums.bias.priors.businesses[counts == 0]
        np.testing.assert_allclose(tables.business_bias[counts == 0], priors, rtol=1e-6)
        assert len(priors) == 2

    @pytest.mark.parametrize(
        ("objective", "retrieval", "rating"),
        [({}, 1.0, 0.0), ({"rating": 0.0}, 1.0, 0.0), ({"retrieval": 0.0}, 0.0, 1.0)],
    )
    def test_lists_are_ordered_by_retrieval_if_there_is_one(
        self, trained, planted, monkeypatch, objective, retrieval, rating
    ):
        model = trained.model
        options = model.options.model_copy(update={"objective": Objective(**objective)})
        monkeypatch.setattr(model.retrieval, "options", options)
        tables = export.build_tables(
            model,
            planted.users.ids,
            planted.businesses.ids,
            trained.fitted.histories(200),
            planted.places,
        )
        # A direction of 8, popularity and a low-pass block of 4; an interaction of 4, two biases.
        rating_dim = 6 + model.rating.factors.factor_dim
        assert tables.score_weights.tolist() == [retrieval] * 13 + [rating] * rating_dim
        assert (tables.direction_dim, tables.low_pass_dim) == (8, 4)
        assert tables.rating_dim == rating_dim


def _same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, Places):
        return _same(vars(one), vars(other))
    if hasattr(one, "row_splits"):
        return _same(one.values, other.values) and _same(one.row_splits, other.row_splits)
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")


@pytest.mark.parametrize("read", [lambda path: export.load_tables(path)[0], exported_tables.read])
def test_tables_round_trip(exact_export, read):
    tables = read(exact_export.path)
    for field in ("user_ids", "business_ids", "query_embeddings", "candidate_embeddings"):
        loaded, saved = getattr(tables, field), getattr(exact_export.tables, field)
        assert loaded.dtype == saved.dtype, field
    for name, value in vars(exact_export.tables).items():
        if name in {"mean_stars", "mean_age_years", "factor_weight", "low_pass_weight"}:
            assert getattr(tables, name) == pytest.approx(value)  # Kept in 32 bits.
        else:
            assert _same(getattr(tables, name), value), name


def test_restored_encoder_is_the_query_tower(exact_export, trained, planted, user_graph):
    tables, encoder = export.load_tables(exact_export.path)
    rows = np.array([0, 3, 57])  # User 3 has no date.
    covariates = {
        key: tf.constant([planted.covariates[row].get(key, [-1])[0] for row in rows], tf.int64)
        for key in USER_COVARIATES
    }
    histories = tables.seen.take(rows)
    embedded = encoder.encode(
        covariates,
        tf.constant(trained.model.rating.sums.users[rows]),
        tf.zeros([3, 8]),
        tf.constant(tables.candidate_embeddings[:-1, :8]),
        tf.constant(tables.history_weights),
        tf.RaggedTensor.from_row_splits(histories.values, histories.row_splits),
    )
    expected = trained.model.embed_queries(trained.model.embed_candidates(), rows)
    # Requests get the low-pass block and the factors outside.
    expected = np.delete(expected, slice(9, 13 + trained.model.rating.factors.factor_dim), axis=1)
    np.testing.assert_allclose(embedded, expected, rtol=1e-3, atol=1e-4)
