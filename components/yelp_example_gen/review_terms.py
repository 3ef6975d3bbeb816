"""The words that tell a business from the others, out of the texts of its training reviews."""

import polars as pl
import pyarrow as pa

from models import features

# What is staged: one row a review, and one row a term.
REVIEW_SCHEMA = pa.schema([
    (features.BUSINESS_ID, pa.string()),
    ("terms", pa.list_(pa.string())),
])
COUNT_SCHEMA = pa.schema([("term", pa.string()), ("num_reviews", pa.int64())])
VOCABULARY_SCHEMA = pa.schema([("term", pa.string()), ("weight", pa.float64())])

# The term that every review holds: its count is the number of reviews.
ANY_REVIEW = ""
# Values: the longest review that Yelp takes; more than that of a text is not looked at.
_MAX_TEXT_CHARS = 5_000
_MIN_TERM_CHARS, _MAX_TERM_CHARS = 3, 20
_MAX_TERMS = 50_000
_MIN_REVIEWS = 5
_MAX_SHARE = 0.5
# Reviews whose words are in memory at once.
_SLICE_REVIEWS = 20_000


def find_terms(texts: pl.Series) -> pl.Series:
    """Finds the distinct words of each text.

    Args:
      texts: `[n]` strings or nulls.

    Returns:
      `[n]` lists of strings in no order: maximal runs of three letters or more, in lower case;
      null for a null.
    """
    slices = [
        texts
        .slice(start, _SLICE_REVIEWS)
        .str.slice(0, _MAX_TEXT_CHARS)
        .str.to_lowercase()
        .str.extract_all(rf"\p{{L}}{{{_MIN_TERM_CHARS},}}")
        .list.unique()
        for start in range(0, max(len(texts), 1), _SLICE_REVIEWS)
    ]
    return pl.concat(slices)


def count_reviews(terms: pl.Series) -> pl.DataFrame:
    """Counts the reviews that hold each term.

    Args:
      terms: What `find_terms` returned.

    Returns:
      The columns of `COUNT_SCHEMA`: the most frequent terms of at most 20 characters, and
      `ANY_REVIEW`.
    """
    term = pl.col("term")
    counts = (
        terms
        .explode()
        .alias("term")
        .drop_nulls()
        .value_counts(name="num_reviews")
        .filter(term.str.len_chars() <= _MAX_TERM_CHARS)
    )
    every = pl.DataFrame({"term": [ANY_REVIEW], "num_reviews": [len(terms)]})
    return pl.concat([every, _most_frequent(counts)], how="vertical_relaxed").cast({
        "num_reviews": pl.Int64
    })


def choose_vocabulary(counts: pl.DataFrame) -> pl.DataFrame:
    """Weighs the terms that are neither too rare nor too common to tell businesses apart.

    The weight is the inverse document frequency ln(N / n) of a term that n of N reviews hold.

    Args:
      counts: The columns of `COUNT_SCHEMA`, from any number of `count_reviews`.

    Returns:
      The columns of `VOCABULARY_SCHEMA`: at most 50,000 terms that at least 5 reviews and at most
      half of them hold.

    Source: Salton & Buckley, "Term-weighting approaches in automatic text retrieval" (1988).
    """
    totals = counts.group_by("term").agg(pl.col("num_reviews").sum())
    is_any = pl.col("term") == ANY_REVIEW
    num_all = totals.filter(is_any)["num_reviews"].sum()
    num_reviews = pl.col("num_reviews")
    known = totals.filter(
        ~is_any & (num_reviews >= _MIN_REVIEWS) & (num_reviews <= _MAX_SHARE * num_all)
    )
    return _most_frequent(known).select("term", weight=(num_all / num_reviews).log())


def choose_terms(reviews: pl.DataFrame, vocabulary: pl.DataFrame, num_terms: int) -> pl.DataFrame:
    """Chooses the terms of each business that tell most about it.

    A term's score is the share of the business's reviews that hold it, times its weight.

    Args:
      reviews: The columns of `REVIEW_SCHEMA`, all reviews of each of their businesses.
      vocabulary: The columns of `VOCABULARY_SCHEMA`.
      num_terms: The most terms that a business gets.

    Returns:
      `business_id` and `review_terms`, a list of strings, the most telling first, ties in the
      order of the terms; a row for each business with a term of the vocabulary.
    """
    business = pl.col(features.BUSINESS_ID)
    businesses = reviews.select(business).unique().with_row_index("row")
    weighted = vocabulary.with_row_index("place")
    # A business and a term as one number: such are counted several times faster than pairs.
    num_places = max(weighted.height, 1)
    pairs = (
        reviews
        .join(businesses, on=features.BUSINESS_ID)
        .select("row", term="terms")
        .explode("term")
        .join(weighted, on="term")
        .select(pair=pl.col("row").cast(pl.UInt64) * num_places + pl.col("place"))
    )
    pair = pl.col("value")
    counts = pairs["pair"].sort().rle().struct.unnest()
    # A business's number of reviews is the same for all its terms and leaves their order alone, so
    # that counts stand for shares.
    return (
        counts
        .select(
            "len",
            row=(pair // num_places).cast(pl.UInt32),
            place=(pair % num_places).cast(pl.UInt32),
        )
        .join(weighted, on="place")
        .select("row", "term", score=pl.col("len") * pl.col("weight"))
        .sort("score", "term", descending=[True, False])
        .group_by("row", maintain_order=True)
        .agg(pl.col("term").head(num_terms).alias(features.BUSINESS_REVIEW_TERMS))
        .join(businesses, on="row")
        .select(features.BUSINESS_ID, features.BUSINESS_REVIEW_TERMS)
    )


def _most_frequent(counts: pl.DataFrame) -> pl.DataFrame:
    """Keeps the terms that most reviews hold, ties in the order of the terms."""
    return counts.sort("num_reviews", "term", descending=[True, False]).head(_MAX_TERMS)
