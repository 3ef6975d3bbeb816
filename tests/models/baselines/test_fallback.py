"""Every baseline answers from its embeddings or its scorer, and its SavedModel, as it does."""

import numpy as np
import pytest
import tensorflow as tf

from models import metrics, signature_descriptions
from models.baselines import fallback, registry, scorers
from models.baselines.choosing import clip
from models.baselines.ease import Ease
from models.tables import Bag
from serving.loader import ServedModel
from serving.warmup import warm_up

NUM_USERS, NUM_BUSINESSES = 40, 30
RATING = ["global_mean", "bias", "ridge", "svd", "svdpp", "coclustering"]
RETRIEVAL = ["popularity", "als", "bpr", "low_pass"]
PAIRS = np.divmod(np.arange(NUM_USERS * NUM_BUSINESSES), NUM_BUSINESSES)


@pytest.fixture(scope="module")
def data(make_data):
    # User 0 and business 0 have no interactions.
    rng = np.random.default_rng(0)
    cells = rng.permutation((NUM_USERS - 1) * (NUM_BUSINESSES - 1))[:700]
    users, businesses = 1 + cells // (NUM_BUSINESSES - 1), 1 + cells % (NUM_BUSINESSES - 1)
    stars = 3 + rng.normal(size=NUM_USERS)[users] + 0.3 * rng.normal(size=700)
    triples = np.stack([users, businesses, np.clip(np.round(stars), 1, 5)], axis=1)
    return make_data(triples[:550], triples[550:], NUM_USERS, NUM_BUSINESSES, tuning_seconds=0.0)


@pytest.mark.parametrize("name", RATING)
def test_ratings_are_inner_products(name, data):
    model = registry.load(registry.RATING[name]).fit(data).model
    queries, candidates = model.embeddings(NUM_USERS, NUM_BUSINESSES)
    assert (len(queries), len(candidates)) == (NUM_USERS + 1, NUM_BUSINESSES + 1)
    found = clip((queries[PAIRS[0]] * candidates[PAIRS[1]]).sum(axis=1))
    np.testing.assert_allclose(found, model.rate(*PAIRS), atol=1e-5)
    # A new user at an unknown business gets about what everybody gives.
    assert queries[-1] @ candidates[-1] == pytest.approx(data.fitted.stars.mean(), abs=0.5)


@pytest.mark.parametrize("name", RETRIEVAL)
def test_lists_are_those_of_inner_products(name, data):
    model = registry.load(registry.RETRIEVAL[name]).fit(data).model
    queries, candidates = model.embeddings(NUM_USERS, NUM_BUSINESSES)
    assert (len(queries), len(candidates)) == (NUM_USERS + 1, NUM_BUSINESSES + 1)
    seen = data.fitted.histories(NUM_USERS)
    ranked = metrics.top_k(queries[:-1], candidates[:-1], 5, seen)
    np.testing.assert_array_equal(ranked, model.recommend(np.arange(NUM_USERS), 5, seen))
    nobody = metrics.top_k(queries[-1:], candidates[:-1], 5)
    np.testing.assert_array_equal(nobody[0], ranked[0])  # User 0 has no history either.


@pytest.mark.parametrize(
    ("rating", "retrieval"), [("lightgbm", "als"), ("knn_user", "ease"), ("knn_item", "item_knn")]
)
def test_the_export_answers_both_tasks(rating, retrieval, data, tmp_path):
    places = registry.RATING[rating], registry.RETRIEVAL[retrieval]
    models = [registry.load(place).fit(data).model for place in places]
    fallback.save(data, *models, str(tmp_path))
    served = ServedModel(str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).signatures
    assert {"recommend", "rate", "serving_default"} <= set(loaded)
    assert "recommend_features" not in loaded
    stars = loaded["rate"](
        user_id=tf.constant(data.users.ids[PAIRS[0]]),
        business_id=tf.constant(data.businesses.ids[PAIRS[1]]),
    )["rating"]
    expected = models[0].rate(*PAIRS)
    assert np.ptp(expected) > 1  # It has something to say.
    np.testing.assert_allclose(stars, expected, atol=2e-5)
    unset = signature_descriptions.read_definitions(str(tmp_path))["recommend"].defaults
    # What a scorer says has no weights, and is not searched by.
    assert "shortlist" in unset
    assert not {"min_stars", "retrieval_weight", "rating_weight"} & set(unset)
    inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in unset.items()}
    found = loaded["recommend"](user_id=tf.constant(data.users.ids), **inputs)
    users, seen = np.arange(NUM_USERS), data.fitted.histories(NUM_USERS)
    nothing = Bag(np.zeros(0, np.int32), np.zeros(NUM_USERS + 1, np.int64))
    listed = models[1].recommend(users, 10, nothing)
    np.testing.assert_array_equal(found["business_id"], data.businesses.ids[listed])
    # The predicted stars beside a list are those of the rating baseline.
    of_list = models[0].rate(np.repeat(users, 10), listed.ravel())
    np.testing.assert_allclose(np.ravel(found["rating"]), of_list, atol=2e-5)
    unseen = loaded["recommend"](
        user_id=tf.constant(data.users.ids), **{**inputs, "exclude_seen": tf.constant([True])}
    )
    listed = models[1].recommend(users, 10, seen)
    ids = np.append(data.businesses.ids, b"")
    np.testing.assert_array_equal(unseen["business_id"], ids[listed])
    # A stranger gets what a user without a history gets, and stars within the range.
    stranger = loaded["recommend"](user_id=tf.constant(["nobody"]), **inputs)
    np.testing.assert_array_equal(stranger["business_id"][0], found["business_id"][0])
    nobody = loaded["rate"](user_id=tf.constant(["nobody"]), business_id=tf.constant(["nowhere"]))[
        "rating"
    ]
    assert 1.0 <= nobody[0] <= 5.0
    # Its requests for warming up are of the signatures and inputs that it has.
    assert warm_up(served, batch_rows=2) > 10


@pytest.mark.parametrize("name", ["knn_user", "knn_item"])
def test_pairs_are_scored_in_blocks(name, data, monkeypatch):
    monkeypatch.setattr(scorers, "_MAX_BLOCK_PAIRS", 7)
    model = registry.load(registry.RATING[name]).fit(data).model
    queries, candidates = (
        side.astype(np.float32) for side in model.embeddings(NUM_USERS, NUM_BUSINESSES)
    )
    stars = model.pair_scorer()(queries[PAIRS[0]], candidates[PAIRS[1]])
    np.testing.assert_allclose(stars, model.rate(*PAIRS), atol=2e-5)
    assert model.pair_scorer()(queries[:0], candidates[:0]).shape == (0,)


@pytest.mark.parametrize("by_user", [True, False])
def test_autoencoders_are_scored_from_either_side(by_user, make_data):
    sizes = (12, 30) if by_user else (30, 12)
    cells = np.random.default_rng(0).permutation(sizes[0] * (sizes[1] - 1))[:100]
    triples = np.stack([cells // (sizes[1] - 1), cells % (sizes[1] - 1), np.full(100, 4)], axis=1)
    data = make_data(triples[:90], triples[90:], *sizes)
    model = Ease(data.fitted, *sizes, penalty=3.0)
    users = np.unique(data.fitted.user_rows)
    scores = model.list_scorer()(tf.constant(users[:, None], tf.float32))
    np.testing.assert_allclose(scores[:, :-1], model.score(users), atol=1e-5)
    nobody = model.list_scorer()(tf.constant([[float(sizes[0])]]))
    assert (nobody.numpy() == scorers.NOTHING).all()
