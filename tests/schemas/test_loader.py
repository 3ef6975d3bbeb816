import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from models import features
from schemas import loader

_USER_KEYS = {
    features.USER_ID,
    features.USER_YELPING_SINCE_SECONDS,
    features.USER_NUM_ELITE_YEARS,
    features.USER_ELITE_YEARS,
    features.USER_NUM_FRIENDS,
    features.USER_FRIENDS,
    *features.USER_COUNTS,
}
_BUSINESS_KEYS = {
    features.BUSINESS_ID,
    *(value for key, value in vars(features).items() if key.startswith("BUSINESS_")),
}
_INTERACTION_KEYS = {
    features.REVIEW_ID,
    features.USER_ID,
    features.BUSINESS_ID,
    features.STARS,
    features.TIMESTAMP_SECONDS,
    *features.INTERACTION_VOTES,
}


@pytest.mark.parametrize(
    ("table", "keys"),
    [("users", _USER_KEYS), ("businesses", _BUSINESS_KEYS), ("interactions", _INTERACTION_KEYS)],
)
def test_schema_has_exactly_the_keys_of_features(table, keys):
    names = [feature.name for feature in loader.load_schema(table).feature]
    assert len(names) == len(set(names))
    assert set(names) == keys


def test_tables_are_those_that_have_an_id():
    assert set(loader.TABLES) == set(features.TABLE_IDS)


@pytest.mark.parametrize("table", loader.TABLES)
def test_only_ids_and_the_rating_are_required(table):
    required = {
        feature.name
        for feature in loader.load_schema(table).feature
        if feature.presence.min_fraction == 1.0
    }
    always = {features.TABLE_IDS[table]}
    if table == "interactions":
        always |= {
            features.USER_ID,
            features.BUSINESS_ID,
            features.STARS,
            features.TIMESTAMP_SECONDS,
        }
    assert required == always


@pytest.mark.parametrize("table", loader.TABLES)
def test_required_features_are_dense_and_the_others_may_be_absent(table):
    for feature in loader.load_schema(table).feature:
        dense = [dim.size for dim in feature.shape.dim] == [1]
        assert dense == (feature.presence.min_fraction == 1.0), feature.name


def test_stars_are_within_the_range_of_a_rating():
    schema = loader.load_schema("interactions")
    (stars,) = [feature for feature in schema.feature if feature.name == features.STARS]
    assert stars.type == schema_pb2.FLOAT
    assert (stars.float_domain.min, stars.float_domain.max) == (
        features.MIN_STARS,
        features.MAX_STARS,
    )


def test_hours_have_one_value_a_day():
    schema = loader.load_schema("businesses")
    for feature in schema.feature:
        if feature.name in {features.BUSINESS_OPENING_MINUTES, features.BUSINESS_CLOSING_MINUTES}:
            assert feature.value_count.min == feature.value_count.max == len(features.DAYS)


@pytest.mark.parametrize("read", [loader.schema_path, loader.load_schema])
@pytest.mark.parametrize("table", ["reviews", "", "../models/users"])
def test_unknown_table_raises(read, table):
    with pytest.raises(ValueError, match="Expected a table out of interactions, users, businesses"):
        read(table)
