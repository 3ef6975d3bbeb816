"""The three tables: their Arrow schemas, the files they come from and the ids they share."""

import pyarrow as pa

from models import features

INTERACTIONS, USERS, BUSINESSES = "interactions", "users", "businesses"

# What each table is called in Yelp's file names.
FILE_KINDS = {INTERACTIONS: "review", USERS: "user", BUSINESSES: "business"}

# The column whose hash decides a row's bucket. All reviews of a user share a bucket, so that
# repeated reviews and per-user splits need no further shuffle.
BUCKET_KEYS = {
    INTERACTIONS: features.USER_ID,
    USERS: features.USER_ID,
    BUSINESSES: features.BUSINESS_ID,
}

# What a review says; read only where a run asks for the terms of reviews, and never written.
TEXT = "text"

_STRINGS = pa.list_(pa.string())
_INTS = pa.list_(pa.int64())

SCHEMAS = {
    INTERACTIONS: pa.schema([
        (features.REVIEW_ID, pa.string()),
        (features.USER_ID, pa.string()),
        (features.BUSINESS_ID, pa.string()),
        (features.STARS, pa.float32()),
        (features.TIMESTAMP_SECONDS, pa.int64()),
        *((key, pa.int64()) for key in features.INTERACTION_VOTES),
    ]),
    USERS: pa.schema([
        (features.USER_ID, pa.string()),
        (features.USER_YELPING_SINCE_SECONDS, pa.int64()),
        (features.USER_NUM_ELITE_YEARS, pa.int64()),
        (features.USER_ELITE_YEARS, _INTS),
        (features.USER_NUM_FRIENDS, pa.int64()),
        (features.USER_FRIENDS, _STRINGS),
        *((key, pa.int64()) for key in features.USER_COUNTS),
    ]),
    BUSINESSES: pa.schema([
        (features.BUSINESS_ID, pa.string()),
        (features.BUSINESS_NAME, pa.string()),
        (features.BUSINESS_CITY, pa.string()),
        (features.BUSINESS_STATE, pa.string()),
        (features.BUSINESS_POSTAL_CODE, pa.string()),
        (features.BUSINESS_LATITUDE_DEGREES, pa.float32()),
        (features.BUSINESS_LONGITUDE_DEGREES, pa.float32()),
        (features.BUSINESS_IS_OPEN, pa.int64()),
        (features.BUSINESS_PRICE_RANGE, pa.int64()),
        (features.BUSINESS_CATEGORIES, _STRINGS),
        (features.BUSINESS_ATTRIBUTES, _STRINGS),
        (features.BUSINESS_OPENING_MINUTES, _INTS),
        (features.BUSINESS_CLOSING_MINUTES, _INTS),
    ]),
}


def staged_schema(table: str, with_text: bool = False) -> pa.Schema:
    """Returns the columns of a table between reading and writing.

    Args:
      table: The table.
      with_text: Whether interactions carry their text.
    """
    schema = SCHEMAS[table]
    has_text = with_text and table == INTERACTIONS
    return schema.append(pa.field(TEXT, pa.string())) if has_text else schema
