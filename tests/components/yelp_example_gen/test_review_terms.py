"""The terms of reviews, against plain Python, and through the whole ingestion."""

import collections
import math
import random
import re

import apache_beam as beam
import polars as pl
import pytest
import tensorflow as tf

from components.yelp_example_gen import inputs, review_terms, transforms
from models.options import SplitOptions

SPLITS = {"interactions": ("train", "eval", "test"), "users": ("all",), "businesses": ("all",)}
NUM_BUCKETS = {"interactions": 3, "users": 1, "businesses": 2}
NUM_TERMS = 4
WORDS = ["Soup", "NOODLES", "crème", "patio", "hair-cut", "don't", "of", "x" * 21, "3rd", "ÎLE"]
WORDS += [f"word{letter}" for letter in "abcdefghij"]


def ingest(data, out, num_terms, method="random", range_bytes=20_000):
    """Runs the whole ingestion; returns the features of each Example, by split."""
    directories = {
        table: {split: out / table / split for split in names} for table, names in SPLITS.items()
    }
    paths = [path for by_split in directories.values() for path in by_split.values()]
    for path in (*paths, out / "rejects", out / "staging"):
        path.mkdir(parents=True)
    plan = transforms.Plan(
        files=inputs.find_inputs(str(data), method),
        split_config=SplitOptions(method=method, eval=0.2, test=0.2),
        split_dirs={
            table: {split: str(path) for split, path in by_split.items()}
            for table, by_split in directories.items()
        },
        rejects_dir=str(out / "rejects"),
        staging_dir=str(out / "staging"),
        num_buckets=NUM_BUCKETS,
        range_bytes=range_bytes,
        num_review_terms=num_terms,
    )
    with beam.Pipeline() as pipeline:
        _ = pipeline | transforms.IngestFiles(plan)
    assert not list((out / "rejects").iterdir())
    return {path.name if path.name != "all" else path.parent.name: read(path) for path in paths}


def read(directory):
    """Reads the Examples of a split by their shard, the values by feature."""
    return {
        path.name: [
            {
                key: list(getattr(value, value.WhichOneof("kind")).value)
                if value.WhichOneof("kind")
                else []
                for key, value in tf.train.Example.FromString(record).features.feature.items()
            }
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        ]
        for path in directory.iterdir()
    }


def rows(shards):
    return [row for shard in shards.values() for row in shard]


def terms_of(shards):
    return {
        row["business_id"][0].decode(): [term.decode() for term in row["review_terms"]]
        for row in rows(shards)
    }


def make_reviews(yelp, count=400):
    """Reviews of distinct users, whose lines are of one shape for the most part."""
    draw = random.Random(3)
    reviews = []
    for number in range(count):
        business = draw.randrange(12)
        words = draw.choices(WORDS, k=5) + [WORDS[business % len(WORDS)]] * draw.randrange(2)
        text = draw.choice([" ", ', "', "\n"]).join(words)
        changes = {"user_id": f"user-{number}", "business_id": f"business-{business}"}
        reviews.append(yelp.review(number, text=text, **changes))
    for review, text in zip(reviews, ([], 5, None, "", "soup \\ café"), strict=False):
        review["text"] = text
    del reviews[7]["text"]
    return reviews


def expected_terms(reviews, num_terms):
    """The most telling terms by plain dictionaries."""
    found = []
    for review in reviews:
        text = review.get("text")
        words = re.findall(r"[^\W\d_]+", text.lower()) if isinstance(text, str) else []
        found.append((review["business_id"], {word for word in words if 3 <= len(word) <= 20}))
    documents = collections.Counter(term for _, terms in found for term in terms)
    num_reviews = collections.Counter(business for business, _ in found)
    held = collections.Counter((business, term) for business, terms in found for term in terms)
    best = collections.defaultdict(list)
    for (business, term), count in held.items():
        if 5 <= documents[term] <= len(found) / 2:
            share = count / num_reviews[business]
            score = share * math.log(len(found) / documents[term])
            best[business].append((-round(score, 12), term))
    return {business: [term for _, term in sorted(b)[:num_terms]] for business, b in best.items()}


def test_terms_are_those_that_plain_python_counts(tmp_path, yelp):
    reviews = make_reviews(yelp)
    yelp.write(tmp_path / "in/review.json", reviews)
    yelp.write(tmp_path / "in/business.json", [yelp.business(i) for i in range(15)])
    found = ingest(tmp_path / "in", tmp_path / "out", NUM_TERMS)
    in_train = {row["review_id"][0].decode() for row in rows(found["train"])}
    assert 200 < len(in_train) < 280
    train = [review for review in reviews if review["review_id"] in in_train]
    expected = expected_terms(train, NUM_TERMS)
    assert len(found["train"]) > 1 and len(found["businesses"]) > 1
    assert max(map(len, expected.values())) == NUM_TERMS
    nobody = {f"business-{number}": [] for number in (12, 13, 14)}
    assert terms_of(found["businesses"]) == expected | nobody
    for split in SPLITS["interactions"]:
        assert all(row.keys().isdisjoint({"text", "terms"}) for row in rows(found[split]))


@pytest.mark.parametrize("method", ["random", "leave_last", "temporal"])
def test_only_training_reviews_are_read(tmp_path, yelp, method):
    reviews = make_reviews(yelp)
    for review in reviews:
        review["user_id"] = f"user-{int(review['review_id'][-4:]) % 40}"
    yelp.write(tmp_path / "told/review.json", reviews)
    told = ingest(tmp_path / "told", tmp_path / "out", NUM_TERMS, method)
    in_train = {row["review_id"][0].decode() for row in rows(told["train"])}
    answers = [{**r, "text": "Leaked answers"} for r in reviews if r["review_id"] not in in_train]
    assert len(answers) > 20
    by_id = {review["review_id"]: review for review in (*reviews, *answers)}
    yelp.write(tmp_path / "hidden/review.json", by_id.values())
    assert ingest(tmp_path / "hidden", tmp_path / "hid", NUM_TERMS, method) == told


@pytest.mark.parametrize("with_eval", [False, True])
def test_given_eval_and_test_reviews_are_not_read(tmp_path, yelp, with_eval):
    reviews = make_reviews(yelp)
    parts = {"train": reviews[:300], "test": reviews[300:]}
    if with_eval:
        parts |= {"train": reviews[:200], "eval": reviews[200:300]}
    outputs = []
    for folder, changes in (("told", {}), ("hidden", {"text": "Leaked answers"})):
        for split, part in parts.items():
            changed = [{**r, **(changes if split != "train" else {})} for r in part]
            if outputs and split == "train":
                kept = {row["review_id"][0].decode() for row in rows(outputs[0]["train"])}
                changed = [r if r["review_id"] in kept else {**r, **changes} for r in part]
            yelp.write(tmp_path / folder / f"yelp_academic_dataset_review.{split}.json", changed)
        outputs.append(ingest(tmp_path / folder, tmp_path / f"out-{folder}", NUM_TERMS, "given"))
    assert outputs[0] == outputs[1]


def test_training_reviews_tell_of_their_business(tmp_path, yelp):
    reviews = make_reviews(yelp)
    yelp.write(tmp_path / "before/review.json", reviews)
    before = ingest(tmp_path / "before", tmp_path / "out-before", NUM_TERMS)
    for review in reviews:
        if review["business_id"] == "business-3":
            review["text"] = "Karaoke!"
    yelp.write(tmp_path / "after/review.json", reviews)
    after = ingest(tmp_path / "after", tmp_path / "out-after", NUM_TERMS)
    assert "karaoke" not in terms_of(before["businesses"])["business-3"]
    assert terms_of(after["businesses"])["business-3"] == ["karaoke"]


def test_without_terms_texts_change_nothing(tmp_path, yelp):
    reviews = make_reviews(yelp)
    outputs = []
    for folder, num_terms in (("on", NUM_TERMS), ("off", 0), ("bare", 0)):
        if folder == "bare":
            reviews = [{**review, "text": "bare"} for review in reviews]
        yelp.write(tmp_path / folder / "review.json", reviews)
        outputs.append(ingest(tmp_path / folder, tmp_path / f"out-{folder}", num_terms))
    on, off, bare = outputs
    assert off == bare
    staged = [path.name for path in (tmp_path / "out-off/staging").iterdir()]
    assert staged and not any("term" in name or "vocabulary" in name for name in staged)
    assert not any("review_terms" in row for row in rows(off["businesses"]))
    for shard in on["businesses"].values():
        for row in shard:
            del row["review_terms"]
    assert on == off


def test_terms_are_words_of_letters():
    texts = pl.Series(["The 3rd ÎLE, don't x2yz_abc: the CRÈME", "", None, "so 12 _"])
    found = review_terms.find_terms(texts).to_list()
    assert [sorted(terms or []) for terms in found] == [
        ["abc", "crème", "don", "the", "île"],
        [],
        [],
        [],
    ]


def test_counts_leave_out_long_words_and_hold_all_reviews():
    terms = pl.Series([["soup", "x" * 21], ["soup", "y" * 20], None], dtype=pl.List(pl.String))
    counts = review_terms.count_reviews(terms)
    assert counts.rows() == [("", 3), ("soup", 2), ("y" * 20, 1)]


def test_vocabulary_leaves_out_rare_and_common_terms():
    halves = {"": 10, "common": 6, "half": 5, "rare": 4}
    counts = pl.DataFrame({"term": list(halves), "num_reviews": list(halves.values())})
    vocabulary = review_terms.choose_vocabulary(counts)
    assert vocabulary.rows() == [("half", math.log(2))]
    twice = review_terms.choose_vocabulary(pl.concat([counts, counts]))
    assert twice.rows() == [("half", math.log(2)), ("rare", math.log(2.5))]
