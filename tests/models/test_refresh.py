"""Exports embed users and businesses anew as training did, and drop who is gone."""

import numpy as np
import pytest

from models import export, refresh
from models.query_encoder import USER_COVARIATES

_GONE = [4, 31]
_NEW = b"place-100"


@pytest.fixture(scope="module")
def exported(exact_export):
    return export.load_refreshable(exact_export.path)


@pytest.fixture(scope="module")
def examples(planted, make_tf_examples):
    return np.array(make_tf_examples(planted.raw_businesses), object)


def _closed_form(tables) -> slice:
    """Coordinates that no tower makes: the low-pass block and the factors."""
    return slice(
        tables.retrieval_dim - tables.low_pass_dim, tables.retrieval_dim + len(tables.factor_ridge)
    )


def _covariates(planted, users):
    return {
        key: np.array([planted.covariates[user].get(key, [-1])[0] for user in users])
        for key in USER_COVARIATES
    }


class TestBusinesses:
    def test_the_same_catalogue_is_embedded_as_it_was(self, exported, examples, planted):
        tables = exported.tables
        found = refresh.refresh_businesses(
            exported, tables.business_ids, examples, planted.places
        ).tables
        np.testing.assert_allclose(
            found.candidate_embeddings, tables.candidate_embeddings, rtol=1e-3, atol=2e-4
        )
        np.testing.assert_allclose(found.taste, tables.taste, rtol=1e-3, atol=2e-4)
        np.testing.assert_array_equal(found.business_bias, tables.business_bias)
        np.testing.assert_array_equal(found.history_weights, tables.history_weights)
        np.testing.assert_array_equal(found.seen.values, tables.seen.values)
        np.testing.assert_array_equal(found.query_embeddings, tables.query_embeddings)

    @pytest.fixture(scope="class")
    def changed(self, exported, planted, make_tf_examples):
        """Two businesses are gone, one is new, a copy of the first in all but its ratings."""
        raw = [row for place, row in enumerate(planted.raw_businesses) if place not in _GONE]
        raw.append({**planted.raw_businesses[0], "business_id": [_NEW]})
        ids = np.array([row["business_id"][0] for row in raw], object)
        return refresh.refresh_businesses(
            exported, ids, np.array(make_tf_examples(raw), object), planted.places
        )

    def test_who_is_gone_is_in_no_list_and_no_history(self, exported, changed):
        before, now = exported.tables, changed.tables
        assert len(now.business_ids) == 99
        assert not {before.business_ids[row] for row in _GONE} & set(now.business_ids)
        for user in range(len(now.user_ids)):
            names = [before.business_ids[row] for row in before.seen.row(user) if row not in _GONE]
            assert [now.business_ids[row] for row in now.seen.row(user)] == names
        stars = exported.refreshable.seen_stars.numpy()[~np.isin(before.seen.values, _GONE)]
        np.testing.assert_array_equal(changed.refreshable.seen_stars.numpy(), stars)

    def test_who_is_left_keeps_their_embedding(self, exported, changed):
        left = np.delete(np.arange(100), _GONE)
        np.testing.assert_allclose(
            changed.tables.candidate_embeddings[:-2],
            exported.tables.candidate_embeddings[left],
            rtol=1e-3,
            atol=2e-4,
        )
        np.testing.assert_array_equal(changed.refreshable.training_rows.numpy()[:-1], left)

    def test_a_new_business_is_what_its_covariates_say(self, exported, changed, trained, planted):
        tables = changed.tables
        new = tables.candidate_embeddings[-2]
        nothing = exported.tables.candidate_embeddings[-1]
        assert np.abs(new - nothing).max() > 0.01
        # No visit: the popularity that its covariates promise; nothing of the low-pass block and of
        # the factors, no part of the visits in its taste.
        promised = trained.model.retrieval.candidate_prior.businesses[0, -1]
        np.testing.assert_allclose(new[tables.direction_dim], max(promised, 0.0), atol=2e-3)
        assert tables.low_pass_dim
        assert not new[_closed_form(tables)].any()
        assert not tables.taste[-1, : trained.model.rating.sums.taste.taste_dim].any()
        np.testing.assert_allclose(
            tables.taste[-1, trained.model.rating.sums.taste.taste_dim :],
            exported.tables.taste[0, trained.model.rating.sums.taste.taste_dim :],
            atol=2e-4,
        )
        np.testing.assert_allclose(
            tables.business_bias[-1], trained.model.rating.sums.bias.priors.businesses[0], atol=1e-4
        )
        assert tables.history_weights[-1] == tables.low_pass_history_weights[-1] == 1.0
        assert changed.refreshable.training_rows.numpy()[-1] == -1

    def test_towers_say_the_same_of_a_new_business(self, exported, changed, trained):
        """By the model in memory: the row of a business without ratings, with its covariates."""
        import tensorflow as tf

        from models.towers import ROW, TASTE

        model, sums = trained.model, trained.model.rating.sums
        rows, nothing = tf.constant([0]), tf.zeros([1, sums.businesses.shape[1]])
        prior = tf.constant(sums.bias.priors.businesses[:1], tf.float32)
        inputs = {
            **model.retrieval._candidate_inputs(rows),
            **model.rating._candidate_inputs(rows, nothing, prior),
        }
        visits = sums.taste.taste_dim
        inputs[TASTE] = tf.concat([tf.zeros([1, visits]), inputs[TASTE][:, visits:]], axis=1)
        inputs[ROW] = tf.constant([-1])
        expected = model.candidate_tower(inputs).numpy()[0]
        promised = model.retrieval.candidate_prior.businesses[0]
        expected[: len(promised)] = [
            *promised[:-1] / np.linalg.norm(promised[:-1]),
            max(promised[-1], 0.0),
        ]
        tables = changed.tables
        found = np.delete(tables.candidate_embeddings[-2], _closed_form(tables))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-4)

    def test_an_export_can_be_refreshed_again(self, changed, exported, examples, planted, tmp_path):
        export.save_refreshable(changed, str(tmp_path / "1"))
        again = refresh.refresh_businesses(
            export.load_refreshable(str(tmp_path / "1")),
            exported.tables.business_ids,
            examples,
            planted.places,
        )
        # Those that were gone come back as new ones: what was known of them is lost.
        rows = again.refreshable.training_rows.numpy()
        assert rows[_GONE].tolist() == [-1, -1]
        left = np.delete(np.arange(100), _GONE)
        np.testing.assert_allclose(
            again.tables.candidate_embeddings[left],
            exported.tables.candidate_embeddings[left],
            rtol=1e-3,
            atol=2e-4,
        )


class TestUsers:
    def test_the_same_users_are_embedded_as_they_were(self, exported, planted):
        tables = exported.tables
        found = refresh.refresh_users(exported, tables.user_ids, _covariates(planted, range(200)))
        np.testing.assert_allclose(
            found.tables.query_embeddings.astype(np.float32),
            tables.query_embeddings.astype(np.float32),
            rtol=4e-3,
            atol=8e-3,
        )
        np.testing.assert_array_equal(found.tables.seen.values, tables.seen.values)
        np.testing.assert_array_equal(
            found.refreshable.seen_stars.numpy(), exported.refreshable.seen_stars.numpy()
        )

    def test_new_ones_come_and_others_go(self, exported, planted):
        tables = exported.tables
        ids = np.append(np.delete(tables.user_ids, [0, 57]), b"user-900")
        known = np.delete(np.arange(200), [0, 57])
        covariates = _covariates(planted, [*known, 3])
        found = refresh.refresh_users(exported, ids, covariates).tables
        assert found.user_ids[-1] == b"user-900"
        np.testing.assert_allclose(
            found.query_embeddings[:-2].astype(np.float32),
            tables.query_embeddings[known].astype(np.float32),
            rtol=4e-3,
            atol=8e-3,
        )
        for place, user in enumerate(known):
            np.testing.assert_array_equal(found.seen.row(place), tables.seen.row(user))
        assert not len(found.seen.row(len(known)))
        # Nobody knows what the new one did: the user with the same covariates has a history.
        new = found.query_embeddings[-2].astype(np.float32)
        assert np.abs(new - tables.query_embeddings[3].astype(np.float32)).max() > 0.05

    def test_covariates_count(self, exported, planted):
        covariates = _covariates(planted, range(200))
        covariates["fans"] = covariates["fans"] + 50
        found = refresh.refresh_users(exported, exported.tables.user_ids, covariates).tables
        moved = np.abs(
            found.query_embeddings[:-1].astype(np.float32)
            - exported.tables.query_embeddings[:-1].astype(np.float32)
        ).max(axis=1)
        assert (moved > 0.01).mean() > 0.9


def test_other_exports_say_that_they_cannot_be_refreshed(exported, tmp_path):
    from models.errors import InputError
    from models.recommender import Recommender

    (tmp_path / "assets").mkdir()
    bare = Recommender(exported.tables, exported.encoder, str(tmp_path / "assets"))
    export.save(bare, str(tmp_path / "1"))
    with pytest.raises(
        InputError, match="which can be refreshed, at .* Give the folder of `t2rec`"
    ):
        export.load_refreshable(str(tmp_path / "1"))
