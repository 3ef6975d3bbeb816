import numpy as np
import pytest

from models import looks
from models.looks import EvalSplit
from models.tables import Interactions

_NUM_USERS = 5


def ratings(*triples):
    users, businesses, stars = zip(*triples, strict=True)
    return Interactions(
        np.array(users, np.int32), np.array(businesses, np.int32), np.array(stars, np.float32)
    )


class Lists:
    """A retrieval model of given scores; a candidate is its unit vector."""

    def __init__(self, scores):
        self._scores = np.asarray(scores, np.float32)
        self.asked = []

    def embed_candidates(self):
        return np.eye(self._scores.shape[1], dtype=np.float32)

    def embed_queries(self, candidates, rows):
        np.testing.assert_array_equal(candidates, self.embed_candidates())
        self.asked.append(np.asarray(rows).tolist())
        return self._scores[rows]


class Stars(Lists):
    """A rating model of given stars."""

    def embed_queries(self, rows):
        return super().embed_queries(self.embed_candidates(), rows)


_TRAIN = ratings((0, 3, 4), (2, 0, 2), (3, 1, 5))
# Users 3 and 4 are not in eval; user 2 visited business 0 again.
_EVAL = ratings((1, 3, 5), (0, 1, 1), (2, 0, 3), (1, 0, 4), (2, 2, 2))
_SCORES = [
    [4.0, 3.0, 2.0, 9.0],
    [1.0, 2.0, 3.0, 4.0],
    [9.0, 2.0, 4.0, 3.0],
    [0.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0],
]
_STARS = [
    [9.0, 0.0, 9.0, 9.0],
    [3.5, 9.0, 9.0, 6.0],
    [3.0, 9.0, 4.0, 9.0],
    [9.0, 9.0, 9.0, 9.0],
    [9.0, 9.0, 9.0, 9.0],
]


def columns(interactions):
    return interactions.user_rows, interactions.business_rows, interactions.stars


def split_of(max_users=10, seed=0, eval_set=_EVAL):
    return EvalSplit(_NUM_USERS, _TRAIN, eval_set, max_users, seed)


@pytest.fixture
def model():
    return Lists(_SCORES)


@pytest.fixture
def stars():
    return Stars(_STARS)


class TestRatings:
    def test_stars_are_predicted_in_the_order_of_the_ratings(self, stars):
        assert split_of().predict(stars).tolist() == [6.0, 0.0, 3.0, 3.5, 4.0]
        # Each user is embedded once.
        assert stars.asked == [[0, 1, 2]]

    def test_squared_errors_by_hand(self):
        # Clipped to 5, 1, 3, 3.5 and 4 of 5, 1, 3, 4 and 2.
        found = split_of().squared_errors(np.array([6.0, 0.0, 3.0, 3.5, 4.0]))
        assert found.tolist() == [0.0, 0.0, 0.0, 0.25, 4.0]

    def test_errors_leave_the_predictions_as_they_are(self):
        stars = np.array([6.0, 0.0, 3.0, 3.5, 4.0])
        split_of().squared_errors(stars)
        assert stars.tolist() == [6.0, 0.0, 3.0, 3.5, 4.0]

    def test_the_score_is_the_less_the_larger_the_error(self, stars):
        score, metrics = split_of().rate(stars)
        assert score == -metrics["rmse"]
        assert metrics == {"rmse": pytest.approx(np.sqrt(4.25 / 5))}

    def test_all_ratings_count_however_few_lists_are_ranked(self, stars):
        assert split_of(max_users=1).rate(stars) == split_of().rate(stars)

    def test_a_sample_of_very_many_ratings_is_predicted(self, model, monkeypatch):
        of_all = split_of().rank(model)
        monkeypatch.setattr(looks, "_MAX_RATINGS", 3)
        told = list(zip(*(column.tolist() for column in columns(_EVAL)), strict=True))
        found = {
            tuple(zip(*(c.tolist() for c in columns(split_of(seed=seed).ratings)), strict=True))
            for seed in range(20)
        }
        assert len(found) > 1
        for sample in found:
            assert len(set(sample)) == 3
            assert [told.index(one) for one in sample] == sorted(map(told.index, sample))
        again = [split_of(seed=1).ratings.stars.tolist() for _ in range(2)]
        assert again[0] == again[1]
        # Lists are ranked as before.
        assert split_of().rank(model) == of_all


class TestLists:
    def test_recall_and_ndcg_by_hand(self, model):
        # User 0 has been to 3: the list is 0, 1, 2, and 1 is relevant. Recall 1, NDCG 1/log₂ 3.
        # User 1: 3, 2, 1, 0, and 3 and 0 are relevant. Recall 1,
        #   NDCG (1 + 1/log₂ 5) / (1 + 1/log₂ 3).
        # User 2 has been to 0, which no list can hold: 2, 3, 1, and 2 is relevant. Both 1.
        third = 1 / np.log2(3)
        ndcg = (third + (1 + 1 / np.log2(5)) / (1 + third) + 1) / 3
        score, metrics = split_of().rank(model)
        assert metrics == {
            "recall@20": 1.0,
            "ndcg@20": pytest.approx(ndcg),
            "ndcg@50": pytest.approx(ndcg),
        }
        assert score == metrics["ndcg@50"]

    def test_only_users_of_the_split_are_ranked(self, model):
        split_of().rank(model)
        assert model.asked == [[0, 1, 2]]

    def test_where_nothing_is_new_to_anybody_no_recipe_is_better(self, model):
        look = split_of(eval_set=ratings((0, 3, 5), (2, 0, 1)))
        score, metrics = look.rank(model)
        assert (score, set(metrics.values())) == (0.0, {0.0})
        assert look.ndcgs(*look.embed(model)).tolist() == [0.0]

    @pytest.mark.parametrize(
        ("place", "recall", "ndcg"),
        [
            (20, 1.0, [1 / np.log2(21), 1 / np.log2(21)]),
            (21, 0.0, [0.0, 1 / np.log2(22)]),
            (50, 0.0, [0.0, 1 / np.log2(51)]),
            (51, 0.0, [0.0, 0.0]),
        ],
    )
    def test_lists_end_after_twenty_and_fifty(self, place, recall, ndcg):
        # 60 businesses in the order of their rows.
        model = Lists(-np.arange(60.0)[None].repeat(_NUM_USERS, 0))
        _, found = split_of(eval_set=ratings((4, place - 1, 3))).rank(model)
        assert found == {
            "recall@20": recall,
            "ndcg@20": pytest.approx(ndcg[0]),
            "ndcg@50": pytest.approx(ndcg[1]),
        }

    def test_of_many_users_some_are_chosen_by_seed(self, model):
        chosen = set()
        for seed in range(20):
            for _ in range(2):
                split_of(max_users=2, seed=seed).rank(model)
            first, again = model.asked[-2:]
            assert first == again == sorted(set(first))
            assert len(first) == 2
            chosen.add(tuple(first))
        assert chosen == {(0, 1), (0, 2), (1, 2)}

    def test_metrics_are_those_of_the_chosen_users(self, model):
        _, metrics = split_of(max_users=1, seed=0).rank(model)
        # NDCG of users 0, 1 and 2: see above.
        third = 1 / np.log2(3)
        ndcgs = [third, (1 + 1 / np.log2(5)) / (1 + third), 1.0]
        assert metrics["ndcg@20"] == pytest.approx(ndcgs[model.asked[0][0]])
