import numpy as np

from components.report import people
from models import features
from models.tables import Bag, Interactions

USER_IDS = np.array([b"ann", b"bob", b"new"], object)
BUSINESS_IDS = np.array([b"bar", b"cafe", b"tea", b"x"], object)


class Star:
    user_ids, business_ids = USER_IDS, BUSINESS_IDS

    def read_labels(self, *keys):
        labels = {
            features.BUSINESS_NAME: [[b"The Bar"], [b"A Caf\xc3\xa9"], [b"Tea House"], []],
            features.BUSINESS_CITY: [[b"Reno"], [b"Reno"], [], []],
            features.BUSINESS_CATEGORIES: [[b"Bars"], [b"Tea", b"Cakes"], [b"Tea"], []],
        }
        return {key: self._bag(labels[key]) for key in keys}

    def _bag(self, values):
        rows = np.repeat(np.arange(4), [len(v) for v in values])
        return Bag.from_pairs(rows, np.array([v for vs in values for v in vs], object), 4)


class Tables:
    score_weights = np.array([1.0, 1.0], np.float32)


class Model:
    """Everybody's lists are tea, cafe, bar, x; embeddings of tea and cafe are alike."""

    candidates = np.array([[1.0, 0.1], [0.4, 2.0], [0.5, 3.0], [0.1, 0.0]], np.float32)
    tables = Tables()

    def queries(self, users):
        return np.tile(np.array([[0.1, 1.0]], np.float32), [len(users), 1])

    def rate(self, asked):
        return np.full(len(asked), 4.256)


FITTED = Interactions(
    np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([2.0, 5.0, 3.0]), np.array([10, 20, 5])
)
TEST = Interactions(np.array([0, 1, 2]), np.array([2, 3, 0]), np.ones(3))


def test_tells_history_recommendations_and_why():
    told = people.tell_users(Model(), Star(), FITTED, TEST)
    by_id = {user["user_id"]: user for user in told}
    assert [user["user_id"] for user in told] == ["new", "bob", "ann"]
    ann = by_id["ann"]
    # The latest visit comes first; what was seen is not recommended.
    assert [(p["name"], p["stars"]) for p in ann["history"]] == [("A Café", 5.0), ("The Bar", 2.0)]
    first, second = ann["recommendations"]
    assert (first["name"], first["stars"], first["visited_in_test"]) == ("Tea House", 4.26, True)
    assert first["why"]["nearest"] == "A Café"
    assert first["why"]["shares"] == ["Tea"]
    assert first["why"]["cosine"] > 0.99
    # A business without a name is called by its id.
    assert (second["name"], second["city"], second["categories"]) == ("x", "", [])
    assert by_id["new"]["history"] == []
    assert by_id["new"]["recommendations"][0]["why"] is None


def test_users_range_from_nothing_to_most():
    lengths = np.arange(100)
    histories = Bag(np.zeros(lengths.sum(), int), np.concatenate([[0], np.cumsum(lengths)]))
    test = Interactions(np.arange(100), np.zeros(100, int), np.ones(100))
    users = people.choose_users(histories, test)
    assert len(set(users)) == 20
    assert (users[0], users[-1]) == (0, 99)


def test_an_empty_test_split_has_no_examples():
    assert people.tell_users(Model(), Star(), FITTED, TEST[:0]) == []
