"""Yelp's own aggregates hold the answers of the test split: nothing of them may come through."""

import random

import apache_beam as beam
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_transform.tf_metadata import schema_utils

from components.yelp_example_gen import inputs, tables, transforms
from models import preprocessing
from models.options import SplitOptions
from schemas import loader

# By table: fields that Yelp computes over all reviews, those of the test split too.
AGGREGATES = {
    "users": ("average_stars", "review_count"),
    "businesses": ("stars", "review_count"),
}
SPLITS = {"interactions": ("train", "eval", "test"), "users": ("all",), "businesses": ("all",)}
NUM_USERS, NUM_BUSINESSES = 60, 25


def plant(yelp, path, corrupt):
    """Writes data in which an entity's aggregate is exactly the stars of each of its reviews."""
    draw = random.Random(7)
    user_stars = [float(draw.randint(1, 5)) for _ in range(NUM_USERS)]

    def aggregate(value):
        return draw.choice([None, "x", -1, 1e30, 2.5]) if corrupt else value

    reviews = [
        yelp.review(
            number,
            user_id=f"user-{number % NUM_USERS}",
            business_id=f"business-{number // NUM_USERS}",
            stars=user_stars[number % NUM_USERS],
        )
        for number in range(NUM_USERS * NUM_BUSINESSES)
    ]
    users = [
        yelp.user(
            number,
            average_stars=aggregate(user_stars[number]),
            review_count=aggregate(NUM_BUSINESSES),
        )
        for number in range(NUM_USERS)
    ]
    mean_stars = sum(user_stars) / NUM_USERS
    businesses = [
        yelp.business(
            number, stars=aggregate(round(2 * mean_stars) / 2), review_count=aggregate(NUM_USERS)
        )
        for number in range(NUM_BUSINESSES)
    ]
    for kind, rows in (("review", reviews), ("user", users), ("business", businesses)):
        yelp.write(path / f"yelp_academic_dataset_{kind}.json", rows)


def ingest(data, out):
    """Runs the whole pipeline and returns the Examples of each file that it wrote, in order."""
    config = SplitOptions(method="random")
    files = inputs.find_inputs(str(data), config.method)
    paths = {
        table: {split: out / table / split for split in names} for table, names in SPLITS.items()
    }
    directories = [path for by_split in paths.values() for path in by_split.values()]
    for path in (*directories, out / "rejects", out / "staging"):
        path.mkdir(parents=True)
    plan = transforms.Plan(
        files=files,
        split_config=config,
        split_dirs={
            table: {split: str(path) for split, path in by_split.items()}
            for table, by_split in paths.items()
        },
        rejects_dir=str(out / "rejects"),
        staging_dir=str(out / "staging"),
        num_buckets=dict.fromkeys(SPLITS, 2),
    )
    with beam.Pipeline() as pipeline:
        _ = pipeline | transforms.IngestFiles(plan)
    assert not list((out / "rejects").iterdir())
    return {
        str(path.relative_to(out)): read_examples(path)
        for directory in directories
        for path in directory.iterdir()
    }


def read_examples(path):
    """Reads serialised Examples, their features in the order of the keys; a map has none."""
    return [
        tf.train.Example.FromString(record.numpy()).SerializeToString(deterministic=True)
        for record in tf.data.TFRecordDataset(str(path))
    ]


def test_examples_do_not_depend_on_yelps_aggregates(tmp_path, yelp):
    outputs = []
    for corrupt in (False, True):
        data = tmp_path / f"data-{corrupt}"
        plant(yelp, data, corrupt)
        outputs.append(ingest(data, tmp_path / f"out-{corrupt}"))
    told, corrupted = outputs
    # All five splits have files, and the data did differ.
    assert len({path.rsplit("/", 1)[0] for path in told}) == 5
    for kind in ("user", "business"):
        name = f"yelp_academic_dataset_{kind}.json"
        whole = [(tmp_path / f"data-{corrupt}" / name).read_bytes() for corrupt in (False, True)]
        assert whole[0] != whole[1]
    assert told == corrupted


@pytest.mark.parametrize("table", AGGREGATES)
def test_no_feature_is_one_of_yelps_aggregates(table):
    schema = {feature.name for feature in loader.load_schema(table).feature}
    assert schema.isdisjoint(AGGREGATES[table])
    assert set(tables.SCHEMAS[table].names).isdisjoint(AGGREGATES[table])


@pytest.mark.parametrize(
    ("table", "preprocess"),
    [
        ("users", preprocessing.preprocess_users),
        ("businesses", preprocessing.preprocess_businesses),
    ],
)
def test_the_transform_graph_needs_none_of_yelps_aggregates(table, preprocess):
    feature_spec = schema_utils.schema_as_feature_spec(loader.load_schema(table)).feature_spec
    specs = {
        key: tf.SparseTensorSpec([None, None], feature.dtype)
        if isinstance(feature, tf.io.VarLenFeature)
        else tf.TensorSpec([None, *feature.shape], feature.dtype)
        for key, feature in feature_spec.items()
    }
    needed = tft.get_transform_input_columns(preprocess, specs)
    assert tables.BUCKET_KEYS[table] in needed
    assert set(needed).isdisjoint(AGGREGATES[table])
