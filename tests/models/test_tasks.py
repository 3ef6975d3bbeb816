import numpy as np
import pytest
import tensorflow as tf

from models.tasks import UserSoftmaxRetrieval, spread

_POSITIVES: tuple[list[int], ...] = ([1, 4], [], [0], [2, 3, 4, 1])


def _inputs(seed=0, num_candidates=6, dim=3):
    rng = np.random.default_rng(seed)
    queries = rng.normal(size=(len(_POSITIVES), dim)).astype(np.float32)
    candidates = rng.normal(size=(num_candidates, dim)).astype(np.float32)
    return queries, candidates


def _offsets(candidates, mask):
    mask = np.ones(len(candidates), bool) if mask is None else mask
    return np.where(mask, 0.0, -np.inf).astype(np.float32)


def _embedded(candidates, positives):
    rows = tf.ragged.constant(positives, tf.int32)
    return rows.with_values(tf.gather(candidates, rows.values))


def _loss(queries, candidates, mask=None, positives=_POSITIVES):
    return UserSoftmaxRetrieval()(
        tf.convert_to_tensor(queries),
        tf.convert_to_tensor(candidates),
        _embedded(candidates, positives),
        candidate_offsets=tf.constant(_offsets(candidates, mask)),
    )


def _expected(queries, candidates, mask=None, positives=_POSITIVES):
    """Averages the cross-entropies one pair at a time, in float64."""
    mask = np.ones(len(candidates), bool) if mask is None else mask
    total = norm = 0.0
    for query, rows in zip(queries.astype(np.float64), positives, strict=True):
        logits = candidates.astype(np.float64) @ query
        for row in rows:
            total -= np.log(np.exp(logits[row]) / np.exp(logits[mask]).sum())
            norm += 1
    return total / norm


def test_two_candidates_by_hand():
    # One user, logits 1 and 0, the first visited: log(1 + 1/e).
    loss = _loss(np.array([[1.0]], "f4"), np.array([[1.0], [0.0]], "f4"), positives=[[0]])
    assert loss.numpy() == pytest.approx(np.log1p(np.exp(-1)))


def test_loss_equals_the_naive_softmax_cross_entropy():
    queries, candidates = _inputs()
    assert _loss(queries, candidates).numpy() == pytest.approx(
        _expected(queries, candidates), rel=1e-5
    )


def test_every_positive_weighs_the_same():
    # One user with four positives among equal logits, one with one positive.
    queries = np.array([[0.0], [1.0]], "f4")
    candidates = np.array([[0.0], [0.0], [0.0], [0.0], [2.0]], "f4")
    spread = np.log(5)
    sharp = np.log((4 + np.exp(2)) / np.exp(2))
    loss = _loss(queries, candidates, positives=[[0, 1, 2, 3], [4]]).numpy()
    assert loss == pytest.approx((4 * spread + sharp) / 5)


def test_a_drawn_candidate_stands_for_others():
    # With chance 1/3 of being drawn, the second candidate counts three times: log(1 + 3/e).
    loss = UserSoftmaxRetrieval()(
        tf.constant([[1.0]]),
        tf.constant([[1.0], [0.0]]),
        _embedded(np.array([[1.0], [0.0]], "f4"), [[0]]),
        candidate_offsets=tf.constant([0.0, np.log(3.0)], tf.float32),
    )
    assert loss.numpy() == pytest.approx(np.log1p(3 * np.exp(-1)), rel=1e-5)


def test_masked_candidates_do_not_matter():
    queries, candidates = _inputs()
    mask = np.array([True] * 5 + [False])
    loss = _loss(queries, candidates, mask).numpy()
    assert loss == pytest.approx(_expected(queries, candidates, mask), rel=1e-5)
    moved = candidates.copy()
    moved[5] = 100.0
    assert _loss(queries, moved, mask).numpy() == pytest.approx(loss)
    assert _loss(queries, moved).numpy() > loss + 1
    assert _loss(queries, candidates[:5]).numpy() == pytest.approx(loss)


def test_users_without_positives_do_not_matter():
    queries, candidates = _inputs()
    moved = queries.copy()
    moved[1] += 5.0
    assert _loss(moved, candidates).numpy() == _loss(queries, candidates).numpy()
    assert _loss(queries[:1], candidates, positives=[[]]).numpy() == 0.0


def test_gradient_equals_that_of_the_naive_formula():
    queries, candidates = (tf.constant(x) for x in _inputs())
    mask = np.array([True, True, True, True, True, False])
    with tf.GradientTape() as tape:
        tape.watch([queries, candidates])
        loss = _loss(queries, candidates, mask)
    of_queries, of_candidates = tape.gradient(loss, [queries, candidates])
    for gradient, point, rebuild in (
        (of_queries, queries, lambda x: _expected(x, candidates.numpy(), mask)),
        (of_candidates, candidates, lambda x: _expected(queries.numpy(), x, mask)),
    ):
        numeric = np.zeros(point.shape)
        for place in np.ndindex(*point.shape):
            step = np.zeros(point.shape)
            step[place] = 1e-5
            high, low = rebuild(point.numpy() + step), rebuild(point.numpy() - step)
            numeric[place] = (high - low) / 2e-5
        np.testing.assert_allclose(gradient, numeric, atol=1e-5)
    assert not of_queries[1].numpy().any()
    assert not of_candidates[5].numpy().any()


def test_large_logits_do_not_overflow():
    # Logits ±2,500: exp overflows, the loss is 0 where the visited one is the largest.
    queries = np.array([[50.0], [-50.0]], "f4")
    candidates = np.array([[50.0], [-50.0]], "f4")
    assert _loss(queries, candidates, positives=[[0], [1]]).numpy() == 0.0
    assert _loss(queries, candidates, positives=[[1], [0]]).numpy() == pytest.approx(5_000)


def test_spread_gives_rows_whose_gradients_add_up_in_the_table():
    table = tf.constant(_inputs()[1])
    some, others = tf.constant([4, 1, 4]), tf.constant([0])
    weights = [tf.random.stateless_normal(shape, [1, 2]) for shape in ([6, 3], [3, 3], [1, 3])]
    gradients = []
    for take in (spread, lambda t, *rows: (t, *(tf.gather(t, r) for r in rows))):
        with tf.GradientTape() as tape:
            tape.watch(table)
            parts = take(table, some, others)
            total = tf.add_n([tf.reduce_sum(w * p) for w, p in zip(weights, parts, strict=True)])
        gradients.append(tf.convert_to_tensor(tape.gradient(total, table)))
    np.testing.assert_allclose(gradients[0], gradients[1], rtol=1e-6)
    np.testing.assert_array_equal(parts[1], table.numpy()[[4, 1, 4]])
