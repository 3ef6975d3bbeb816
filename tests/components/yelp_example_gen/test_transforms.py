"""The whole Beam pipeline on small files, against plain Python."""

import collections
import datetime
import gzip
import itertools
import json
import random

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from tensorflow_transform.tf_metadata import schema_utils

from components.yelp_example_gen import (
    hashing,
    inputs,
    tallies,
    transforms,
)
from models import features
from models.options import SplitOptions
from schemas import loader

PREFIX = "yelp_academic_dataset_"
NUM_BUCKETS = {"interactions": 3, "users": 2, "businesses": 2}
SPLITS = {
    "interactions": ("train", "eval", "test"),
    "users": ("all",),
    "businesses": ("all",),
}


def run(data, root, config, range_bytes=3000):
    """Runs the pipeline; returns the tally and each split's rows as dicts of Python values."""
    files = inputs.find_inputs(str(data), config.method)
    split_dirs = {
        table: {split: root / table / f"Split-{split}" for split in names}
        for table, names in SPLITS.items()
    }
    for directory in (root / "rejects", root / "staging"):
        directory.mkdir(parents=True)
    for by_split in split_dirs.values():
        for directory in by_split.values():
            directory.mkdir(parents=True)
    plan = transforms.Plan(
        files=files,
        split_config=config,
        split_dirs={
            table: {split: str(path) for split, path in by_split.items()}
            for table, by_split in split_dirs.items()
        },
        rejects_dir=str(root / "rejects"),
        staging_dir=str(root / "staging"),
        num_buckets=NUM_BUCKETS,
        range_bytes=range_bytes,
    )
    with beam.Pipeline() as pipeline:
        _ = pipeline | transforms.IngestFiles(plan)
    tally = tallies.Tally.from_json((root / "staging" / transforms.TALLY_FILE).read_text())
    rows = {
        split: read_split(table, path)
        for table, by_split in split_dirs.items()
        for split, path in (
            (s if table == "interactions" else table, p) for s, p in by_split.items()
        )
    }
    return tally, rows


def read_split(table, directory):
    """Parses a split with the feature spec of the table's schema."""
    spec = schema_utils.schema_as_feature_spec(loader.load_schema(table)).feature_spec
    spec.pop(features.BUSINESS_REVIEW_TERMS, None)  # only where a run asks for it
    paths = sorted(str(path) for path in directory.iterdir())
    records = list(tf.data.TFRecordDataset(paths).as_numpy_iterator())
    for record in records:
        assert tf.train.Example.FromString(record).features.feature.keys() == spec.keys()
    parsed = tf.io.parse_example(np.array(records, object), spec)
    rows = [{} for _ in records]
    for key, values in parsed.items():
        is_sparse = isinstance(values, tf.SparseTensor)
        ragged = tf.RaggedTensor.from_sparse(values) if is_sparse else values
        for row, value in zip(rows, ragged.numpy(), strict=True):
            items = [x.decode() if isinstance(x, bytes) else x.item() for x in np.ravel(value)]
            row[key] = items if is_sparse else items[0]
    return rows


def make_reviews(yelp, count, seed=0):
    """Reviews with repeated ids, and with several of one user of one business."""
    draw = random.Random(seed)
    start = datetime.datetime(2014, 1, 1)
    reviews = []
    for number in range(count):
        date = start + datetime.timedelta(days=draw.randrange(300), minutes=draw.randrange(1440))
        reviews.append(
            yelp.review(
                number,
                user_id=f"user-{draw.randrange(40)}",
                business_id=f"business-{draw.randrange(30)}",
                stars=draw.randrange(1, 6),
                date=str(date),
                cool=draw.choice([None, 0, 5, 300, -1]),
            )
        )
    return reviews + [dict(review, stars=5) for review in draw.sample(reviews, count // 20)]


def distinct(reviews):
    """The reviews to be kept, by plain dictionaries."""
    by_id = {}
    for review in reviews:
        known = by_id.get(review["review_id"])
        if known is None or review["date"] >= known["date"]:
            by_id[review["review_id"]] = review
    by_pair = {}
    for review in by_id.values():
        pair = review["user_id"], review["business_id"]
        known = by_pair.get(pair)
        newness = review["date"], review["review_id"]
        if known is None or newness > (known["date"], known["review_id"]):
            by_pair[pair] = review
    return by_id, by_pair


def expected_row(review):
    date = datetime.datetime.fromisoformat(review["date"]).replace(tzinfo=datetime.timezone.utc)
    return {
        "review_id": review["review_id"],
        "user_id": review["user_id"],
        "business_id": review["business_id"],
        "stars": float(review["stars"]),
        "timestamp_seconds": int(date.timestamp()),
        **{
            key: [] if review[key] is None else [review[key]] for key in ("useful", "funny", "cool")
        },
    }


def expected_split(reviews, all_reviews, config):
    """Returns a function from a review to its split, by brute force."""
    if config.method == "temporal":
        days = sorted(review["date"][:10] for review in all_reviews)

        def miss(starts):
            from_eval, from_test = (sum(d >= day for d in days) / len(days) for day in starts)
            shares = (1 - from_eval, from_eval - from_test, from_test)
            wanted = (1 - config.eval - config.test, config.eval, config.test)
            return sum((one - other) ** 2 for one, other in zip(shares, wanted, strict=True))

        eval_day, test_day = min(itertools.combinations(sorted(set(days))[1:], 2), key=miss)
        return lambda r: (
            "test" if r["date"] >= test_day else "eval" if r["date"] >= eval_day else "train"
        )
    if config.method == "random":

        def draw(review):
            hashes = hashing.hash_strings(pa.array([review["review_id"]]))
            return hashing.mix(hashes, config.seed)[0] / 2.0**64

        return lambda r: "test" if draw(r) < 0.1 else "eval" if draw(r) < 0.2 else "train"
    by_user = collections.defaultdict(list)
    for review in reviews:
        by_user[review["user_id"]].append((review["date"], review["review_id"]))
    last = {}
    for visits in by_user.values():
        if len(visits) >= 3:
            *_, (_, second), (_, newest) = sorted(visits)
            last[newest], last[second] = "test", "eval"
    return lambda r: last.get(r["review_id"], "train")


def by_id(rows, key="review_id"):
    found = {row[key]: row for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.parametrize(
    ("method", "suffix"),
    [("temporal", ".json"), ("temporal", ".json.gz"), ("random", ".json"), ("leave_last", ".json")],
)
def test_interactions_against_plain_python(tmp_path, yelp, method, suffix):
    reviews = make_reviews(yelp, 400)
    bad = [b'{"review_id": "cut', b"\xff", b"{}", b"null"]
    lines = list(reviews)
    for position, line in enumerate(bad):
        lines.insert(position * 100, line)
    lines.insert(7, b"")
    data = yelp.write(tmp_path / "in" / f"{PREFIX}review{suffix}", lines)
    config = SplitOptions(method=method, seed=5)
    tally, rows = run(tmp_path / "in", tmp_path / "out", config)

    unique_ids, kept = distinct(reviews)
    split_of = expected_split(kept.values(), reviews, config)
    for split in ("train", "eval", "test"):
        wanted = {r["review_id"]: expected_row(r) for r in kept.values() if split_of(r) == split}
        assert by_id(rows[split]) == wanted
        assert tally.counts["rows", "interactions", split] == len(wanted) > 0
        seconds = [row["timestamp_seconds"] for row in wanted.values()]
        assert tally.spans[split] == (min(seconds), max(seconds))

    name = f"{PREFIX}review{suffix}"
    assert tally.counts["lines", name] == len(lines)
    assert tally.counts["blank", name] == 1
    assert tally.counts["kept", name] == len(reviews)
    num_repeated = len(reviews) - len(unique_ids)
    assert tally.counts["dropped", "interactions", "repeated_review_ids"] == num_repeated == 20
    num_superseded = len(unique_ids) - len(kept)
    assert tally.counts["dropped", "interactions", "superseded_reviews"] == num_superseded > 0

    rejects = [
        json.loads(line)
        for path in sorted((tmp_path / "out" / "rejects").iterdir())
        for line in path.read_text().splitlines()
    ]
    assert [reject["line"].encode() for reject in rejects] == [
        b"\xef\xbf\xbd" if b == b"\xff" else b for b in bad
    ]
    assert [reject["reason"] for reject in rejects] == [
        "not JSON",
        "invalid UTF-8",
        "review_id: missing",
        "not a JSON object",
    ]
    for reject, line in zip(rejects, bad, strict=True):
        assert data[reject["byte_offset"] :].startswith(line + b"\n")
        assert reject["file"] == name
    # Without their files users and businesses are known by id only, all that reviews mention.
    assert by_id(rows["users"], "user_id").keys() == {r["user_id"] for r in reviews}
    assert by_id(rows["businesses"], "business_id").keys() == {r["business_id"] for r in reviews}
    assert all(row["fans"] == row["friends"] == [] for row in rows["users"])


def test_users_and_businesses(tmp_path, yelp):
    reviews = [
        yelp.review(i, user_id=f"user-{i % 9}", business_id=f"business-{i % 6}") for i in range(60)
    ]
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", reviews)
    users = [yelp.user(i, fans=i) for i in range(7)] + [yelp.user(20), yelp.user(3, fans=99)]
    yelp.write(tmp_path / "in" / f"{PREFIX}user.json.gz", users)
    yelp.write(tmp_path / "in" / f"{PREFIX}business.json", [yelp.business(i) for i in (0, 1, 50)])
    tally, rows = run(tmp_path / "in", tmp_path / "out", SplitOptions())

    found = by_id(rows["users"], "user_id")
    assert found.keys() == {f"user-{i}" for i in (*range(9), 20)}
    assert found["user-3"]["fans"] == [99]  # the last of the input
    assert found["user-2"] == {
        "user_id": "user-2",
        "yelping_since_seconds": [(40 * 365 + 10 + 125) * 86400 + 7 * 3600 + 8 * 60 + 9],
        "num_elite_years": [2],
        "elite_years": [2012, 2013],
        "num_friends": [2],
        "friends": ["user-1", "user-2"],
        "fans": [2],
        "useful": [5],
        "funny": [0],
        "cool": [1],
        **dict.fromkeys((key for key in features.USER_COUNTS if key.startswith("compliment")), []),
        "compliment_hot": [2],
    }
    assert all(not found["user-8"][key] for key in found["user-8"] if key != "user_id")
    assert tally.counts["dropped", "users", "unknown_ids"] == 2
    assert tally.counts["dropped", "users", "repeated_ids"] == 1

    found = by_id(rows["businesses"], "business_id")
    assert found.keys() == {f"business-{i}" for i in (*range(6), 50)}
    assert found["business-50"] == {
        "business_id": "business-50",
        "name": ["Invented 50"],
        "city": ["Springfield"],
        "state": ["ZZ"],
        "postal_code": ["00000"],
        "latitude_degrees": [12.5],
        "longitude_degrees": [-45.25],
        "is_open": [1],
        "price_range": [2],
        "categories": ["Noodles", "Soup"],
        "attributes": ["WiFi=no", "RestaurantsPriceRange2=2"],
        "opening_minutes": [0, -1, -1, -1, 1020, -1, -1],
        "closing_minutes": [1440, -1, -1, -1, 1590, -1, -1],
    }
    assert tally.counts["dropped", "businesses", "unknown_ids"] == 4


@pytest.mark.parametrize("with_eval", [True, False])
def test_given_splits(tmp_path, yelp, with_eval):
    reviews = make_reviews(yelp, 300)
    parts = {"train": reviews[:200], "eval": reviews[200:240], "test": reviews[240:300]}
    parts["train"] = [*parts["train"], parts["train"][0]]  # the only repeat that is dropped
    if not with_eval:
        parts["train"] += parts.pop("eval")
    for split, part in parts.items():
        yelp.write(tmp_path / "in" / f"{PREFIX}review.{split}.json", part)
    tally, rows = run(tmp_path / "in", tmp_path / "out", SplitOptions(method="given", eval=0.3))
    if not with_eval:
        # 240 reviews, 30 % of them within four standard deviations of 7.1.
        assert abs(len(rows["eval"]) - 72) < 29
        rows["train"] += rows.pop("eval")
    for split, part in parts.items():
        assert by_id(rows[split]) == {r["review_id"]: expected_row(r) for r in part}
    assert tally.counts["dropped", "interactions", "repeated_review_ids"] == 1
    assert tally.counts["dropped", "interactions", "superseded_reviews"] == 0


def test_chunking_does_not_change_the_output(tmp_path, yelp):
    yelp.write(tmp_path / "in" / f"{PREFIX}review.json", make_reviews(yelp, 200))
    config = SplitOptions(method="leave_last")
    first_tally, first_rows = run(tmp_path / "in", tmp_path / "a", config, range_bytes=700)
    second_tally, second_rows = run(tmp_path / "in", tmp_path / "b", config, range_bytes=10**6)
    assert first_rows == second_rows
    assert first_tally == second_tally
    shards = [sorted(p.name for p in (tmp_path / x / "interactions").rglob("data*")) for x in "ab"]
    assert shards[0] == shards[1]


def pack_input(yelp, pack, tmp_path):
    """Writes reviews, users and businesses in many forms, and names those to be read locally."""
    folder = tmp_path / "in"
    contents = {
        "review": yelp.write(folder / f"{PREFIX}review.json", make_reviews(yelp, 200)),
        "user": yelp.write(folder / f"{PREFIX}user.json", [yelp.user(i) for i in range(30)]),
        "business": yelp.write(
            folder / f"{PREFIX}business.json", [yelp.business(i) for i in range(20)]
        ),
    }
    junk = {"Agreement.pdf": b"%PDF", f"._{PREFIX}review.json": b"junk", "tip.json": b"{}"}
    plain = junk | {f"./{PREFIX}{kind}.json": data for kind, data in contents.items()}
    mixed = junk | {
        f"d/{PREFIX}user.json.gz": gzip.compress(contents["user"]),
        f"d/{PREFIX}review.json": contents["review"],
        f"d/{PREFIX}business.json.gz": gzip.compress(contents["business"]),
    }
    (tmp_path / "plain.tar").write_bytes(pack(plain))
    (tmp_path / "mixed.tar").write_bytes(pack(mixed))
    (tmp_path / "plain.tgz").write_bytes(gzip.compress(pack(plain)))
    (tmp_path / "really_gzip.tar").write_bytes(gzip.compress(pack(mixed)))
    (tmp_path / "shards").mkdir()
    lines = contents["review"].splitlines(keepends=True)
    for part in range(0, 12):
        shard = b"".join(lines[part * 20 : part * 20 + 20])
        (tmp_path / "shards" / f"review-{part}.json").write_bytes(shard)
    for kind in ("user", "business"):
        data = gzip.compress(contents[kind])
        (tmp_path / "shards" / f"{kind}.json.gz").write_bytes(data)
    return ["mixed.tar", "really_gzip.tar", "shards/*"]


def test_every_form_of_the_input_gives_the_same_rows(tmp_path, yelp, pack, memory):
    forms = pack_input(yelp, pack, tmp_path)
    _, wanted = run(tmp_path / "in", tmp_path / "out", SplitOptions())
    assert all(wanted.values())
    for number, form in enumerate(forms):
        tally, rows = run(tmp_path / form, tmp_path / f"out{number}", SplitOptions(), 20_000)
        assert rows == wanted, form
        assert not any(key[0] == "rejected" for key in tally.counts)
    # Through nothing but Beam's filesystems: this one has no files on the disk.
    for name in ("plain.tar", "plain.tgz"):
        memory.files[f"mem://b/{name}"] = (tmp_path / name).read_bytes()
        _, rows = run(f"mem://b/{name}", tmp_path / f"mem-{name}", SplitOptions(), 20_000)
        assert rows == wanted


@pytest.mark.parametrize("pack_spans", [False, True])
def test_later_spans_supersede(tmp_path, yelp, pack, pack_spans):
    spans = {
        # The second in the order of names, the first in that of numbers.
        9: ([yelp.review(i) for i in range(60)], [yelp.user(i, fans=9) for i in range(5)]),
        10: (
            [yelp.review(i, date="2016-01-02 03:04:05") for i in range(50, 80)],
            [yelp.user(i, fans=10) for i in (3, 4, 5)],
        ),
    }
    for span, (reviews, users) in spans.items():
        folder = tmp_path / f"span-{span}"
        contents = {
            "review.json": yelp.write(folder / "review.json", reviews),
            "user.json": yelp.write(folder / "user.json", users),
        }
        if pack_spans:
            (tmp_path / f"span-{span}.tgz").write_bytes(gzip.compress(pack(contents)))
    pattern = tmp_path / ("span-{SPAN}.tgz" if pack_spans else "span-{SPAN}")
    tally, rows = run(pattern, tmp_path / "out", SplitOptions(method="random"))
    found = by_id(rows["users"], "user_id")
    fans = {user: row["fans"] for user, row in found.items() if row["fans"]}
    assert fans == {f"user-{i}": [9] for i in range(3)} | {f"user-{i}": [10] for i in (3, 4, 5)}
    assert tally.counts["dropped", "users", "repeated_ids"] == 2
    reviews = [row for split in SPLITS["interactions"] for row in rows[split]]
    kept, latest = distinct([*spans[9][0], *spans[10][0]])
    assert by_id(reviews).keys() == {review["review_id"] for review in latest.values()}
    assert tally.counts["dropped", "interactions", "repeated_review_ids"] == 10
    suffix = ".tgz" if pack_spans else ""
    for span, (_, users) in spans.items():
        assert tally.counts["kept", f"span-{span}{suffix}/user.json"] == len(users)


@pytest.mark.parametrize("with_eval", [True, False])
def test_given_splits_in_a_compressed_tar(tmp_path, yelp, pack, with_eval):
    reviews = make_reviews(yelp, 300)[:300]
    parts = {"test": reviews[:60], "train": reviews[60:200], "eval": reviews[200:]}
    if not with_eval:
        parts["train"] = reviews[60:]
        del parts["eval"]
    contents = {
        f"{PREFIX}review.{split}.json": yelp.write(tmp_path / "x.json", part)
        for split, part in parts.items()
    }
    contents[f"{PREFIX}review.json"] = b"not read"
    (tmp_path / "t.tgz").write_bytes(gzip.compress(pack(contents)))
    _, rows = run(tmp_path / "t.tgz", tmp_path / "out", SplitOptions(method="given", eval=0.3))
    if not with_eval:
        # 240 reviews, 30 % of them within four standard deviations of 7.1.
        assert abs(len(rows["eval"]) - 72) < 29
        rows["train"] += rows.pop("eval")
    for split, part in parts.items():
        assert by_id(rows[split]) == {r["review_id"]: expected_row(r) for r in part}


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_a_tar_that_is_cut_is_one_reject(tmp_path, yelp, pack, suffix):
    reviews = [yelp.review(i) for i in range(100)]
    data = yelp.write(tmp_path / "x.json", reviews)
    num_bytes = 512 + data.index(b"review-0090") + 50
    cut = pack({"review.json": data})[:num_bytes]
    path = tmp_path / f"yelp{suffix}"
    path.write_bytes(gzip.compress(cut) if suffix == ".tgz" else cut)
    tally, rows = run(path, tmp_path / "out", SplitOptions(method="random"))
    assert sum(len(rows[split]) for split in SPLITS["interactions"]) == len(
        distinct(reviews[:90])[1]
    )
    (reject,) = [
        json.loads(line)
        for path in (tmp_path / "out" / "rejects").iterdir()
        for line in path.read_text().splitlines()
    ]
    line_start = data.rindex(b"\n", 0, num_bytes - 512) + 1
    assert reject == {
        "file": f"yelp{suffix}/review.json",
        "byte_offset": line_start,
        "reason": "truncated tar",
        "line": data[line_start : num_bytes - 512].decode(),
    }
    assert tally.counts["rejected", f"yelp{suffix}/review.json", "truncated tar"] == 1
