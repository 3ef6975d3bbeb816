"""A planted data set, a model trained on it, its export, and a process of TensorFlow only."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from models import features
from models.options import ModelOptions, TrainingOptions
from models.places import Places
from models.tables import Bag, EntityTable, Interactions

# Values whose logarithms log(1 + x) are 0, 1, 2 and 3 times log 2.
_ROUND_COUNTS = (0, 1, 3, 7)


@dataclasses.dataclass(frozen=True)
class Analysed:
    """A Transform graph and what it made of its own training rows.

    Attributes:
      rows: Transformed rows, by id.
      output: `tft.TFTransformOutput`.
      spec: Raw feature spec.
    """

    rows: dict
    output: Any
    spec: dict


def analyse(folder, table, preprocess, raw) -> Analysed:
    """Runs TensorFlow Transform over rows in memory."""
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils

    from schemas.loader import load_schema

    schema = load_schema(table)
    spec = schema_utils.schema_as_feature_spec(schema).feature_spec
    rows = [{**dict.fromkeys(spec), **row} for row in raw]
    with tft_beam.Context(temp_dir=str(folder / "temp")):
        data = (rows, dataset_metadata.DatasetMetadata(schema))
        (transformed, _), graph = data | tft_beam.AnalyzeAndTransformDataset(preprocess)
        graph | tft_beam.WriteTransformFn(str(folder / "graph"))
    # As TFX's component does.
    metadata_io.write_metadata(
        dataset_metadata.DatasetMetadata(schema), str(folder / "graph" / "metadata")
    )
    key = features.TABLE_IDS[table]
    return Analysed(
        rows={np.ravel(row[key])[0]: row for row in transformed},
        output=tft.TFTransformOutput(str(folder / "graph")),
        spec=spec,
    )


@pytest.fixture(scope="session")
def user_graph(tmp_path_factory) -> Analysed:
    """Four users: three with a profile, one who is known by id only."""
    from models.preprocessing import preprocess_users

    raw = [
        {
            features.USER_ID: [b"user %d" % row],
            features.USER_YELPING_SINCE_SECONDS: [1_000_000_000 + 200_000_000 * row],
            features.USER_NUM_ELITE_YEARS: [_ROUND_COUNTS[row]],
            features.USER_NUM_FRIENDS: [_ROUND_COUNTS[2 - row]],
            features.USER_FRIENDS: [b"user 1", b"a stranger"],
            "fans": [_ROUND_COUNTS[row]],
            "useful": [5],
        }
        for row in range(3)
    ]
    raw.append({features.USER_ID: [b"only an id"]})
    return analyse(tmp_path_factory.mktemp("users"), "users", preprocess_users, raw)


@pytest.fixture(scope="session")
def business_graph(tmp_path_factory) -> Analysed:
    """Four businesses without attributes; one is known by id only, one gives no hours."""
    from models.preprocessing import preprocess_businesses

    raw = [
        {
            features.BUSINESS_ID: [b"cafe"],
            features.BUSINESS_CITY: [b"Reno"],
            features.BUSINESS_LATITUDE_DEGREES: [10.0],
            features.BUSINESS_LONGITUDE_DEGREES: [-30.0],
            features.BUSINESS_PRICE_RANGE: [1],
            features.BUSINESS_IS_OPEN: [1],
            features.BUSINESS_CATEGORIES: [b"Tea", b"Cakes"],
            # Ten hours on Monday, closed on the other days: 10 a week.
            features.BUSINESS_OPENING_MINUTES: [480, -1, -1, -1, -1, -1, -1],
            features.BUSINESS_CLOSING_MINUTES: [1_080, -1, -1, -1, -1, -1, -1],
        },
        {
            features.BUSINESS_ID: [b"bar"],
            features.BUSINESS_CITY: [b"Reno"],
            features.BUSINESS_LATITUDE_DEGREES: [20.0],
            features.BUSINESS_LONGITUDE_DEGREES: [-50.0],
            features.BUSINESS_PRICE_RANGE: [3],
            features.BUSINESS_IS_OPEN: [0],
            features.BUSINESS_CATEGORIES: [b"Bars", b"Tea"],
            # Three nights from 18:00 to 4:00: 30 a week.
            features.BUSINESS_OPENING_MINUTES: [-1, -1, -1, -1, 1_080, 1_080, 1_080],
            features.BUSINESS_CLOSING_MINUTES: [-1, -1, -1, -1, 1_680, 1_680, 1_680],
        },
        {
            features.BUSINESS_ID: [b"no hours"],
            features.BUSINESS_CITY: [b"Tampa"],
            features.BUSINESS_CATEGORIES: [b"Tea"],
        },
        {features.BUSINESS_ID: [b"only an id"]},
    ]
    return analyse(tmp_path_factory.mktemp("businesses"), "businesses", preprocess_businesses, raw)


def make_examples(rows) -> list[bytes]:
    """Makes tf.Examples of rows of lists."""
    import tensorflow as tf

    examples = []
    for row in rows:
        example = tf.train.Example()
        for key, values in row.items():
            kind = "bytes_list" if isinstance(values[0], bytes) else "int64_list"
            kind = "float_list" if isinstance(values[0], float) else kind
            getattr(example.features.feature[key], kind).value.extend(values)
        examples.append(example.SerializeToString())
    return examples


def parse_rows(spec, rows) -> dict:
    """Makes raw features of rows of lists, as a reader of tf.Examples does."""
    import tensorflow as tf

    return tf.io.parse_example(make_examples(rows), spec)


@pytest.fixture(scope="session")
def make_graph():
    """`analyse`, for tests with rows of their own."""
    return analyse


@pytest.fixture(scope="session")
def make_tf_examples():
    """`make_examples`, for tests."""
    return make_examples


@pytest.fixture(scope="session")
def parse():
    """`parse_rows`, for tests."""
    return parse_rows


@dataclasses.dataclass(frozen=True)
class Planted:
    """Two kinds of users and of businesses, who mostly keep to their own kind and like it more.

    What a user is shows in their number of fans, what a business is in its category. The last
    user and the last two businesses have no ratings at all.

    Attributes:
      users: All users, transformed by `user_graph`.
      businesses: All businesses.
      covariates: Raw covariates of each user; a key is absent where nothing is known.
      raw_businesses: Raw features of each business.
      business_graph: What Transform made of them.
      train: Interactions to learn from.
      eval: Interactions to choose on.
      test: Interactions to judge by.
      places: Facts of the businesses.
    """

    users: EntityTable
    businesses: EntityTable
    covariates: list
    raw_businesses: list
    business_graph: Analysed
    train: Interactions
    eval: Interactions
    test: Interactions
    places: Places


NUM_USERS, NUM_BUSINESSES, NUM_VISITS = 200, 100, 20


def _planted_interactions(rng, user_kinds, business_kinds) -> Interactions:
    draw = rng.gamma(2.0, size=NUM_BUSINESSES)
    draw[-2:] = 0.0
    user_bias = rng.normal(scale=0.4, size=NUM_USERS)
    business_bias = rng.normal(scale=0.4, size=NUM_BUSINESSES)
    rows = []
    for user in range(NUM_USERS - 1):
        chance = draw * np.where(business_kinds == user_kinds[user], 0.9, 0.1)
        rows.append(rng.choice(NUM_BUSINESSES, NUM_VISITS, replace=False, p=chance / chance.sum()))
    businesses = np.concatenate(rows).astype(np.int32)
    users = np.repeat(np.arange(NUM_USERS - 1, dtype=np.int32), NUM_VISITS)
    liking = np.where(user_kinds[users] == business_kinds[businesses], 0.8, -0.8)
    stars = 3.2 + liking + user_bias[users] + business_bias[businesses]
    stars += rng.normal(scale=0.4, size=len(stars))
    return Interactions(users, businesses, np.clip(np.round(stars), 1, 5).astype(np.float32))


def _planted_places(business_kinds) -> Places:
    """Along the equator, a tenth of a degree apart; the first open early, the second late, …"""
    every = np.arange(NUM_BUSINESSES)
    locations = np.stack([np.zeros(NUM_BUSINESSES), every / 10], axis=1).astype(np.float32)
    locations[-1] = np.nan
    opening = np.full([NUM_BUSINESSES, 7], -1, np.int16)
    closing = opening.copy()
    opening[0::3, :5], closing[0::3, :5] = 480, 1_020  # Weekdays from 8:00 to 17:00.
    opening[1::3, 4:], closing[1::3, 4:] = 1_200, 1_680  # Friday to Sunday from 20:00 to 4:00.
    return Places(
        names=np.array([b"The Place %d" % row for row in every], object),
        categories={
            b"Bars": np.flatnonzero(business_kinds == 0).astype(np.int32),
            b"Tea & Cakes": np.flatnonzero(business_kinds == 1).astype(np.int32),
        },
        cities={
            "Córdoba".encode(): np.flatnonzero(every % 3 == 0).astype(np.int32),
            b"Reno": np.flatnonzero(every % 3 == 1).astype(np.int32),
            b"Elko": np.flatnonzero(every % 3 == 2).astype(np.int32),
        },
        locations_degrees=locations,
        opening_minutes=opening,
        closing_minutes=closing,
    )


def _raw_businesses(places) -> list:
    """What Yelp would say of the planted businesses."""
    labels: list = [{} for _ in range(NUM_BUSINESSES)]
    for key, postings in (("categories", places.categories), ("city", places.cities)):
        for label, rows in postings.items():
            for row in rows:
                labels[row][key] = [label]
    for row, label in enumerate(labels):
        label[features.BUSINESS_ID] = [b"place-%03d" % row]
        label[features.BUSINESS_NAME] = [places.names[row]]
        latitude, longitude = places.locations_degrees[row].tolist()
        if np.isfinite(latitude):
            label[features.BUSINESS_LATITUDE_DEGREES] = [latitude]
            label[features.BUSINESS_LONGITUDE_DEGREES] = [longitude]
        label[features.BUSINESS_OPENING_MINUTES] = places.opening_minutes[row].tolist()
        label[features.BUSINESS_CLOSING_MINUTES] = places.closing_minutes[row].tolist()
    return labels


@pytest.fixture(scope="session")
def planted(user_graph, tmp_path_factory) -> Planted:
    """200 users, 100 businesses and nearly 4,000 ratings."""
    from models.preprocessing import (
        ATTRIBUTES,
        CATEGORIES,
        CITY,
        NUMERIC,
        preprocess_businesses,
    )

    rng = np.random.default_rng(42)
    user_kinds = rng.permutation(np.arange(NUM_USERS) % 2)
    business_kinds = rng.permutation(np.arange(NUM_BUSINESSES) % 2)
    ratings = _planted_interactions(rng, user_kinds, business_kinds)
    ratings = ratings[rng.permutation(len(ratings))]
    tenth = len(ratings) // 10
    covariates = [
        {
            "fans": [int(rng.integers(0, 3) + 6 * kind)],
            features.USER_NUM_FRIENDS: [int(rng.integers(0, 9))],
            features.USER_YELPING_SINCE_SECONDS: [int(rng.integers(1_000_000_000, 1_400_000_000))],
        }
        for kind in user_kinds
    ]
    del covariates[3][features.USER_YELPING_SINCE_SECONDS]
    rows = [{features.USER_ID: [b"id"], **row} for row in covariates]
    transform = user_graph.output.transform_features_layer()
    places = _planted_places(business_kinds)
    raw_businesses = _raw_businesses(places)
    folder = tmp_path_factory.mktemp("planted_businesses")
    graph = analyse(folder, "businesses", preprocess_businesses, raw_businesses)
    transformed = [graph.rows[raw[features.BUSINESS_ID][0]] for raw in raw_businesses]

    def bag(key):
        lists = [np.zeros(0) if row[key] is None else np.ravel(row[key]) for row in transformed]
        splits = np.cumsum([0, *map(len, lists)])
        return Bag(np.concatenate(lists).astype(np.int32), splits)

    return Planted(
        users=EntityTable(
            ids=np.array([b"user-%03d" % row for row in range(NUM_USERS)], object),
            numeric=transform(parse_rows(user_graph.spec, rows))[NUMERIC].numpy(),
        ),
        businesses=EntityTable(
            ids=np.array([b"place-%03d" % row for row in range(NUM_BUSINESSES)], object),
            numeric=np.stack([row[NUMERIC] for row in transformed]).astype(np.float32),
            categorical={CITY: np.array([row[CITY] for row in transformed], np.int32).ravel()},
            bags={key: bag(key) for key in (CATEGORIES, ATTRIBUTES)},
            vocabulary_sizes={CITY: 4, CATEGORIES: 3, ATTRIBUTES: 1},
        ),
        covariates=covariates,
        raw_businesses=raw_businesses,
        business_graph=graph,
        train=ratings[: -2 * tenth],
        eval=ratings[-2 * tenth : -tenth],
        test=ratings[-tenth:],
        places=places,
    )


@pytest.fixture(scope="session")
def model_options() -> ModelOptions:
    """Towers large enough for the planted data."""
    return ModelOptions(
        embedding_dim=8,
        rating_dim=4,
        taste_dim=3,
        low_pass_dim=4,
        factor_dim=2,
        tower_widths=(16,),
        temperature=0.2,
        history_power=0.5,
        user_embedding=False,
        query_covariates=0.3,
        candidate_covariates=0.3,
    )


@pytest.fixture(scope="session")
def trained(planted, model_options):
    """What `train` returns on the planted data, with a refit."""
    from models.training import train

    return train(
        planted.users,
        planted.businesses,
        planted.train,
        planted.eval,
        model_options,
        TrainingOptions(
            rating_batch_size=512,
            retrieval_batch_size=64,
            min_steps=240,
            rating_learning_rate=1e-2,
            retrieval_learning_rate=6e-3,
            num_folds=5,
            num_evaluations=4,
        ),
        refit=True,
    )


@dataclasses.dataclass(frozen=True)
class Exported:
    """An export and what it was made of.

    Attributes:
      path: Folder of the SavedModel.
      tables: `models.recommender_tables.RecommenderTables`.
    """

    path: str
    tables: Any


@pytest.fixture(scope="session")
def exact_export(planted, trained, user_graph, tmp_path_factory) -> Exported:
    """The trained model, exported for exact search."""
    from models import export

    tables = export.build_tables(
        trained.model,
        planted.users.ids,
        planted.businesses.ids,
        seen=trained.fitted.histories(NUM_USERS),
        places=planted.places,
    )
    path = str(tmp_path_factory.mktemp("exact") / "1")
    export.save_exact(
        trained.model,
        tables,
        trained.fitted,
        user_graph.output,
        planted.business_graph.output,
        path,
    )
    return Exported(path, tables)


@dataclasses.dataclass(frozen=True)
class Oracle:
    """Answers by sorting all scores, in numpy, over the tables of an export."""

    tables: Any

    def user(self, name) -> int:
        """Row of a user's embedding; the last one stands for anybody unknown."""
        return self._row(self.tables.user_ids, name)

    def business(self, name) -> int:
        """Row of a business's embedding; the last one stands for any unknown."""
        return self._row(self.tables.business_ids, name)

    def query(self, name) -> np.ndarray:
        """A user's embedding."""
        return self.tables.query_embeddings[self.user(name)].astype(np.float32)

    def recommend(
        self,
        query,
        k=10,
        excluded=(),
        category="",
        city="",
        among=None,
        min_stars=0.0,
        weights=None,
        shortlist=0,
    ):
        """Lists (business id, score, stars), best first; `among` are the rows that may be found."""
        weights = self.tables.score_weights if weights is None else self.tables.spread(*weights)
        scores = self.tables.candidate_embeddings[:-1] @ (query * weights)
        keep = ~np.isin(np.arange(len(scores)), list(excluded))
        if among is not None:
            keep &= np.isin(np.arange(len(scores)), among)
        keep &= [self.stars(query, row) >= min_stars for row in range(len(scores))]
        for wanted, postings in (
            (category, self.tables.places.categories),
            (city, self.tables.places.cities),
        ):
            if wanted:
                keep &= np.isin(np.arange(len(scores)), postings.get(wanted.encode(), []))
        rows = [row for row in np.argsort(-scores, kind="stable") if keep[row]]
        if shortlist:
            rows = rows[: max(shortlist, k)]
            rows = sorted(rows, key=lambda row: -self.stars(query, row))
        return [
            (self.tables.business_ids[row].decode(), scores[row], self.stars(query, row))
            for row in rows[:k]
        ]

    def stars(self, query, row) -> float:
        """Predicted stars of a business's row."""
        block = -self.tables.rating_dim
        return float(np.clip(query[block:] @ self.tables.candidate_embeddings[row, block:], 1, 5))

    def similar(self, name, k=10):
        """Lists (business id, cosine), best first, without the business itself."""
        dim = self.tables.direction_dim
        directions, own = self.tables.candidate_embeddings[:, :dim], self.business(name)
        scores = directions[:-1] @ directions[own]
        rows = [row for row in np.argsort(-scores, kind="stable") if row != own][:k]
        return [(self.tables.business_ids[row].decode(), scores[row]) for row in rows]

    @staticmethod
    def _row(ids, name) -> int:
        found = np.flatnonzero(ids == name.encode())
        return int(found[0]) if len(found) else len(ids)


@pytest.fixture(scope="session")
def oracle(exact_export) -> Oracle:
    """Expected answers of the exact export."""
    return Oracle(exact_export.tables)


@pytest.fixture(scope="session")
def make_oracle():
    """`Oracle`, for tests with tables of their own."""
    return Oracle


# Fills in defaults from the SignatureDef, as TensorFlow Serving does; knows nothing of t2rec.
_CLIENT = """
import json, sys
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

path, imports, requests = json.load(sys.stdin)
for name in imports:
    __import__(name)
with open(path + "/saved_model.pb", "rb") as file:
    (graph,) = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
library = graph.graph_def.library.function
functions = {function.signature.name for function in library}
ops = {node.op for node in graph.graph_def.node}
ops |= {node.op for function in library for node in function.node_def}
loaded = tf.saved_model.load(path)

def plain(value):
    return value.decode() if isinstance(value, bytes) else value

def call(signature, inputs):
    function = loaded.signatures[signature]
    specs = function.structured_input_signature[1]
    defaults = graph.signature_def[signature].defaults
    tensors = {}
    for name, spec in specs.items():
        if name in inputs:
            value = inputs[name]
        elif name in defaults:
            value = tf.make_ndarray(defaults[name])
        else:
            raise KeyError(name)
        tensors[name] = tf.constant(value, spec.dtype)
    try:
        outputs = function(**tensors)
    except tf.errors.InvalidArgumentError as error:
        return {"error": str(error)}
    return {
        name: [[plain(x) for x in row] if isinstance(row, list) else plain(row)
               for row in tensor.numpy().tolist()]
        for name, tensor in outputs.items()
    }

json.dump({
    "answers": {name: call(*request) for name, request in requests.items()},
    "unregistered_ops": sorted(op for op in ops - functions if op_def_registry.get(op) is None),
    "ops": sorted(ops),
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
}, open(1, "w"))
"""


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a fresh process says about an export.

    Attributes:
      answers: By request, the signature's outputs as lists, or `error`.
      unregistered_ops: Ops of the graph that the process doesn't know.
      ops: All ops of the graph and its functions.
      modules: Top-level packages that the process has imported.
    """

    answers: dict
    unregistered_ops: list
    ops: list
    modules: list

    def lists(self, request: str) -> list:
        """The rows of a recommending signature, as lists of (business id, score, stars)."""
        outputs = self.answers[request]
        assert "error" not in outputs, outputs
        columns = [outputs[key] for key in ("business_id", "score", "rating") if key in outputs]
        return [list(zip(*row, strict=True)) for row in zip(*columns, strict=True)]


@pytest.fixture(scope="session")
def ask_fresh_process(tmp_path_factory):
    """Returns a function that loads an export in a new process and sends it requests."""

    def ask(path: str, requests: dict, imports=()) -> Reply:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _CLIENT],
            input=json.dumps([path, imports, requests]),
            capture_output=True,
            text=True,
            cwd=tmp_path_factory.mktemp("elsewhere"),
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-5_000:]
        return Reply(**json.loads(done.stdout))

    return ask
