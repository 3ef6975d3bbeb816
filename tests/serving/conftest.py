"""Small exports with known embeddings, and their answers by plain numpy."""

import dataclasses
import shutil

import numpy as np
import pytest

DIRECTION_DIM = 6
RATING_DIM = 4
NUM_USERS = 40
CATEGORIES = (b"Bars", b"Pizza", b"Tea")
CITIES = (b"Reno", b"Tampa")


@dataclasses.dataclass(frozen=True)
class Planted:
    """An export's folders, its tables and an exact oracle over them."""

    root: str
    path: str
    tables: object

    def row(self, user_id: str) -> int:
        """The row of a user's embedding: the last for one who is unknown."""
        ids = [i.decode() for i in self.tables.user_ids]
        return ids.index(user_id) if user_id in ids else len(ids)

    def recommend(
        self, user_id, k=10, exclude_seen=False, exclude_business_ids=(), category="", city=""
    ):
        """Lists (business id, score, rating), best first, by sorting all scores."""
        tables, user = self.tables, self.row(user_id)
        query = tables.query_embeddings[user].astype(np.float32)
        scores = tables.candidate_embeddings[:-1] @ (query * tables.score_weights)
        keep = np.ones(len(scores), bool)
        if exclude_seen and user < len(tables.user_ids):
            keep[tables.seen.row(user)] = False
        for wanted, labels in ((category, tables.places.categories), (city, tables.places.cities)):
            if wanted:
                keep &= np.isin(np.arange(len(scores)), labels.get(wanted.encode(), []))
        ids = [i.decode() for i in tables.business_ids]
        keep &= ~np.isin(ids, list(exclude_business_ids))
        order = [row for row in np.argsort(-scores, kind="stable") if keep[row]][:k]
        return [(ids[row], scores[row], self._stars(user, row)) for row in order]

    def rate(self, user_id, business_id) -> float:
        """Predicts stars; an unknown business has the last row."""
        ids = [i.decode() for i in self.tables.business_ids]
        row = ids.index(business_id) if business_id in ids else len(ids)
        return self._stars(self.row(user_id), row)

    def _stars(self, user, row) -> float:
        query = self.tables.query_embeddings[user, -RATING_DIM:].astype(np.float32)
        return float(np.clip(query @ self.tables.candidate_embeddings[row, -RATING_DIM:], 1, 5))


def make_tables(num_businesses: int):
    """Draws fixed embeddings; ratings are spread over the whole range of stars and beyond."""
    from models.places import Places
    from models.recommender_tables import RecommenderTables
    from models.tables import Bag

    rng = np.random.default_rng(7)
    dim = DIRECTION_DIM + 1 + RATING_DIM

    def embeddings(num):
        vectors = rng.normal(size=(num, dim)).astype(np.float32)
        vectors[:, -2:] = rng.normal(size=(num, 2))
        return vectors

    queries = embeddings(NUM_USERS + 1)
    queries[:, DIRECTION_DIM] = 1.0
    queries[:, -2] += 3.0
    queries[:, -1] = 1.0
    candidates = embeddings(num_businesses + 1)
    candidates[:, -2] = 1.0
    rows = rng.integers(NUM_USERS, size=4 * NUM_USERS)
    businesses = np.arange(num_businesses)
    return RecommenderTables(
        user_ids=np.array([b"user-%02d" % i for i in range(NUM_USERS)], object),
        business_ids=np.array([b"place-%04d" % i for i in range(num_businesses)], object),
        query_embeddings=queries.astype(np.float16),
        candidate_embeddings=candidates,
        retrieval_weight=1.0,
        rating_weight=0.0,
        rating_dim=RATING_DIM,
        seen=Bag.from_pairs(
            rows, rng.integers(num_businesses, size=len(rows)).astype(np.int32), NUM_USERS
        ),
        mean_stars=3.5,
        mean_age_years=1.0,
        business_bias=rng.normal(size=num_businesses).astype(np.float32),
        taste=np.zeros([num_businesses, 0], np.float32),
        history_weights=rng.uniform(0.1, 1.0, size=num_businesses).astype(np.float32),
        factor_ridge=np.zeros(0, np.float32),
        factor_weight=0.0,
        places=Places.unknown(
            num_businesses,
            categories={c: businesses[i::4].astype(np.int32) for i, c in enumerate(CATEGORIES)},
            cities={c: businesses[i::2].astype(np.int32) for i, c in enumerate(CITIES)},
        ),
    )


def make_encoder():
    """Makes a stand-in for the query tower: the sum of the history's directions."""
    import tensorflow as tf

    from models.aggregates import NUM_SUMS
    from models.query_encoder import USER_COVARIATES

    ragged = tf.RaggedTensorSpec([None, None], tf.int32, row_splits_dtype=tf.int64)

    class SumEncoder(tf.Module):
        @tf.function(
            input_signature=[
                {key: tf.TensorSpec([None], tf.int64, name=key) for key in USER_COVARIATES},
                tf.TensorSpec([None, NUM_SUMS], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None, None], tf.float32),
                tf.TensorSpec([None], tf.float32),
                ragged,
            ]
        )
        def encode(self, covariates, sums, vectors, directions, counts, histories):
            count = tf.shape(sums)[0]
            visited = tf.ragged.map_flat_values(lambda rows: tf.gather(directions, rows), histories)
            direction = tf.reduce_sum(visited, axis=1)
            bias = 3.0 + sums[:, 1:2] + 0.01 * tf.cast(covariates["fans"], tf.float32)[:, None]
            zeros = tf.zeros([count, RATING_DIM - 2])
            ones = tf.ones([count, 1])
            return tf.ensure_shape(
                tf.concat([direction, ones, zeros, bias, ones], axis=1),
                [None, DIRECTION_DIM + 1 + RATING_DIM],
            )

    return SumEncoder()


def build_export(
    root, num_businesses: int, approximate: bool, version: int = 3, tied: bool = False
) -> Planted:
    """Writes an export below `root`, as a pipeline does.

    Args:
      root: Root of the pipeline.
      num_businesses: Size of the catalogue.
      approximate: Whether to search with ScaNN.
      version: Number of the export.
      tied: Whether every third business is embedded as the one before it.
    """
    from models import export
    from models.recommender import Recommender

    tables = make_tables(num_businesses)
    if tied:
        tables.candidate_embeddings[2:-1:3] = tables.candidate_embeddings[1:-2:3]
    assets = root / "assets"
    assets.mkdir(parents=True)
    model = root / "serving" / ("t2rec_scann" if approximate else "t2rec")
    make_search = None
    if approximate:
        from models.scann_index import Effort, ScannIndex, ScannSearch
        from models.search import KINDS

        index, effort = ScannIndex(tables, num_leaves=20), Effort(20, 1_200)

        def make_search(exact):
            return ScannSearch(exact, index, dict.fromkeys(KINDS, effort))

    recommender = Recommender(tables, make_encoder(), str(assets), make_search)
    export.save(recommender, str(model / str(version)))
    return Planted(str(root), str(model), tables)


@pytest.fixture(scope="session")
def exact_export(tmp_path_factory) -> Planted:
    """An exact export of 30 businesses."""
    return build_export(tmp_path_factory.mktemp("exact"), 30, approximate=False)


@pytest.fixture(scope="session")
def tied_export(tmp_path_factory) -> Planted:
    """An exact export of 300 businesses, a third of which tie with another."""
    return build_export(tmp_path_factory.mktemp("tied"), 300, approximate=False, tied=True)


@pytest.fixture(scope="session")
def scann_export(tmp_path_factory) -> Planted:
    """An approximate export of 1,200 businesses."""
    return build_export(tmp_path_factory.mktemp("scann"), 1_200, approximate=True)


@pytest.fixture(scope="session")
def exact_model(exact_export):
    """The exact export, loaded."""
    from serving.loader import load_model

    return load_model(exact_export.path)


def build_tiny(path, offset: float = 2.0) -> None:
    """Writes a SavedModel that loads in no time.

    Its signatures: `y = x / 2 + offset`, `k` times; ids twice; and one that counts up to a number,
    a few hundred thousand a second.
    """
    import tensorflow as tf

    module = tf.Module()
    module.offset = tf.Variable(offset, dtype=tf.float32)
    one = tf.constant([1], tf.int32)

    def half(x, k=one):
        listed = tf.repeat((x / 2 + module.offset)[:, None], tf.reduce_max(k), axis=1)
        with tf.control_dependencies([tf.debugging.assert_less(x, 1e6, "x must be small.")]):
            return {"y": tf.identity(listed)}

    def twice(ids):
        return {"twice": tf.strings.join([ids, ids])}

    def count(steps):
        most = tf.reduce_max(steps)
        (counted,) = tf.while_loop(lambda n: n < most, lambda n: (n + 1,), (tf.constant(0),))
        return {"counted": tf.fill(tf.shape(steps), counted)}

    module.functions = {
        name: tf.function(function, input_signature=specs, autograph=False)
        for name, function, specs in (
            (
                "serving_default",
                half,
                [tf.TensorSpec([None], tf.float32, "x"), tf.TensorSpec([None], tf.int32, "k")],
            ),
            ("ids", twice, [tf.TensorSpec([None], tf.string, "ids")]),
            ("count", count, [tf.TensorSpec([None], tf.int32, "steps")]),
        )
    }
    tf.saved_model.save(module, str(path), signatures=dict(module.functions))


@pytest.fixture(scope="session")
def tiny_versions(tmp_path_factory):
    """A folder with the versions 1 and 2 of the tiny model, which add 1 and 2; copy it to use."""
    root = tmp_path_factory.mktemp("tiny") / "tiny"
    for version in (1, 2):
        build_tiny(root / str(version), float(version))
    return root


@pytest.fixture
def tiny(tiny_versions, tmp_path):
    """A copy of the tiny model's folder, with version 1 only; `add_version` adds another."""
    shutil.copytree(tiny_versions / "1", tmp_path / "tiny" / "1")
    return tmp_path / "tiny"


@pytest.fixture
def add_version(tiny_versions, tiny):
    """Adds a version as a pipeline does: whole or not at all."""

    def add(number: int, broken: bool = False) -> None:
        incoming = tiny / "incoming"
        shutil.copytree(tiny_versions / "2", incoming)
        if broken:
            (incoming / "saved_model.pb").write_bytes(b"not a proto")
        incoming.rename(tiny / str(number))

    return add


@pytest.fixture(scope="session")
def exact_server(exact_export):
    """A server of the exact export, which no test may stop."""
    from serving.server_process import ServerProcess

    arguments = ["--model", exact_export.path, "--max-body-bytes", "100000", "--read-seconds", "2"]
    with ServerProcess(arguments) as process:
        yield process
