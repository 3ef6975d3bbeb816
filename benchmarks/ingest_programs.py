"""The programs that `benchmarks.ingest` measures, each in a process of its own."""

import os
import sys

from models import features

REVIEW_COLUMNS = {
    "review_id": "VARCHAR",
    "user_id": "VARCHAR",
    "business_id": "VARCHAR",
    "stars": "FLOAT",
    "date": "TIMESTAMP",
    "useful": "BIGINT",
    "funny": "BIGINT",
    "cool": "BIGINT",
}
_USER_TEXTS = ("user_id", "yelping_since", "elite", "friends")
_BUSINESS_TEXTS = ("business_id", "name", "city", "state", "postal_code", "categories")

# What DuckDB reads of each table, and what it makes of it.
_DUCKDB = {
    "review": (REVIEW_COLUMNS, "* REPLACE (epoch(date)::BIGINT AS date)"),
    "user": (
        dict.fromkeys(_USER_TEXTS, "VARCHAR") | dict.fromkeys(features.USER_COUNTS, "BIGINT"),
        "* REPLACE (epoch(yelping_since::TIMESTAMP)::BIGINT AS yelping_since, "
        "CASE WHEN elite IN ('', 'None') THEN 0 ELSE len(string_split(elite, ',')) END AS elite, "
        "CASE WHEN friends IN ('', 'None') THEN [] ELSE string_split(friends, ', ') END "
        "AS friends)",
    ),
    "business": (
        dict.fromkeys(_BUSINESS_TEXTS, "VARCHAR")
        | {"latitude": "FLOAT", "longitude": "FLOAT", "is_open": "BIGINT"}
        | {"attributes": "MAP(VARCHAR, VARCHAR)", "hours": "MAP(VARCHAR, VARCHAR)"},
        "* REPLACE (string_split(categories, ', ') AS categories)",
    ),
}


def ours(kind: str, path: str, out: str, *beam_args: str) -> None:
    """Runs `IngestFiles` on one file with a random split."""
    import apache_beam as beam
    from apache_beam.options import pipeline_options

    from components.yelp_example_gen import inputs, splits, staging, tables, transforms
    from models.options import SplitOptions

    (table,) = (table for table, name in tables.FILE_KINDS.items() if name == kind)
    file = inputs.InputFile(path, table, "", os.path.getsize(path), 0.0)
    names = {name: (features.ALL,) for name in tables.SCHEMAS}
    names[tables.INTERACTIONS] = features.INTERACTION_SPLITS
    split_dirs = {
        name: {split: os.path.join(out, name, split) for split in splits_of}
        for name, splits_of in names.items()
    }
    rejects_dir, staging_dir = os.path.join(out, "rejects"), os.path.join(out, "staging")
    directories = [path for by_split in split_dirs.values() for path in by_split.values()]
    for directory in (*directories, rejects_dir, staging_dir):
        os.makedirs(directory)
    plan = transforms.Plan(
        files=(file,),
        split_config=SplitOptions(method=splits.RANDOM),
        split_dirs=split_dirs,
        rejects_dir=rejects_dir,
        staging_dir=staging_dir,
        num_buckets=staging.count_buckets([file]),
    )
    options = pipeline_options.PipelineOptions(list(beam_args))
    with beam.Pipeline(runner="DirectRunner", options=options) as pipeline:
        _ = pipeline | transforms.IngestFiles(plan)
    heavy = sys.modules.keys() & {"tensorflow", "tfx"}
    if heavy:
        raise RuntimeError(f"Expected Beam, Polars and Arrow only; {heavy} got imported too.")


def duckdb(kind: str, path: str, out: str) -> None:
    """Converts a file to Parquet with DuckDB on one thread."""
    import duckdb

    os.makedirs(out)
    columns, selected = _DUCKDB[kind]
    duckdb.execute("SET threads=1")
    duckdb.execute(
        f"COPY (SELECT {selected} FROM read_json('{path}', format='newline_delimited', "
        f"columns={columns})) TO '{out}/rows.parquet'"
    )


def polars(kind: str, path: str, out: str) -> None:
    """Converts a review file to Parquet with Polars; its threads are set by the environment."""
    del kind
    import polars as pl

    os.makedirs(out)
    types = {"VARCHAR": pl.String, "FLOAT": pl.Float32, "BIGINT": pl.Int64, "TIMESTAMP": pl.String}
    schema = {key: types[name] for key, name in REVIEW_COLUMNS.items()}
    frame = pl.read_ndjson(path, schema=schema)
    date = pl.col("date").str.to_datetime("%Y-%m-%d %H:%M:%S").dt.epoch("s")
    frame.with_columns(date).write_parquet(os.path.join(out, "rows.parquet"))


def textbook(kind: str, path: str, out: str) -> None:
    """Converts a review file with the pipeline that Beam's and TFX's guides lead to."""
    del kind
    import datetime
    import hashlib
    import json

    import apache_beam as beam
    import tensorflow as tf

    def to_example(record: dict) -> tf.train.Example:
        def texts(key: str) -> tf.train.Feature:
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[record[key].encode()]))

        def numbers(value: int) -> tf.train.Feature:
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

        date = datetime.datetime.fromisoformat(record["date"] + "+00:00")
        stars = tf.train.FloatList(value=[record["stars"]])
        feature = {key: texts(key) for key in ("review_id", "user_id", "business_id")}
        feature |= {key: numbers(record[key]) for key in features.INTERACTION_VOTES}
        feature["stars"] = tf.train.Feature(float_list=stars)
        feature["timestamp_seconds"] = numbers(int(date.timestamp()))
        return tf.train.Example(features=tf.train.Features(feature=feature))

    def choose_split(record: dict, num_splits: int) -> int:
        draw = int(hashlib.md5(record["review_id"].encode()).hexdigest(), 16) % 10
        return max(0, draw - 10 + num_splits)

    with beam.Pipeline(runner="DirectRunner") as pipeline:
        records = pipeline | beam.io.ReadFromText(path) | beam.Map(json.loads)
        parts = records | beam.Partition(choose_split, len(features.INTERACTION_SPLITS))
        for split, part in zip(features.INTERACTION_SPLITS, parts, strict=True):
            _ = (
                part
                | f"ToExample{split}" >> beam.Map(to_example)
                | f"Serialize{split}" >> beam.Map(lambda example: example.SerializeToString())
                | f"Write{split}" >> beam.io.WriteToTFRecord(os.path.join(out, split, "data"))
            )


def floor(kind: str, path: str, out: str) -> None:
    """Reads a file and counts its lines."""
    del kind, out
    with open(path, "rb") as file:
        sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def generate(out: str, num_reviews: str) -> None:
    """Generates data."""
    from pipeline import synth

    synth.generate(out, int(num_reviews))


def repeat(path: str, out: str, num_copies: str) -> None:
    """Writes a review file several times over, with ids that do not repeat."""
    with open(out, "wb") as sink:
        for copy in range(int(num_copies)):
            mark = b'_id":"%02d' % copy
            with open(path, "rb") as source:
                while lines := source.readlines(1 << 24):
                    sink.write(b"".join(lines).replace(b'_id":"', mark))


PROGRAMS = {
    program.__name__: program
    for program in (ours, duckdb, polars, textbook, floor, generate, repeat)
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
