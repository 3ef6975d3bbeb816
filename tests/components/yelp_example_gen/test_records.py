import pytest

from components.yelp_example_gen import records, tables

# 2015-01-01 is 45 years and 11 leap days after 1970-01-01; then 10:20:30.
REVIEW_SECONDS = (45 * 365 + 11) * 86400 + 10 * 3600 + 20 * 60 + 30


def as_dict(table, row):
    return dict(zip(tables.SCHEMAS[table].names, row, strict=True))


def test_review(yelp):
    ignored = []
    row = as_dict("interactions", records.review_row(yelp.review(0, stars=4), ignored))
    assert row == {
        "review_id": "review-0000",
        "user_id": "user-0",
        "business_id": "business-0",
        "stars": 4.0,
        "timestamp_seconds": REVIEW_SECONDS,
        "useful": 0,
        "funny": 0,
        "cool": 0,
    }
    assert ignored == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"user_id": None}, "user_id: null"),
        ({"user_id": ""}, "user_id: empty"),
        ({"user_id": " "}, "user_id: empty"),
        ({"business_id": 7}, "business_id: not a string"),
        ({"review_id": "a\0b"}, "review_id: holds NUL"),
        ({"stars": "5"}, "stars: not a number"),
        ({"stars": True}, "stars: not a number"),
        ({"stars": 0.5}, "stars: not in [1, 5]"),
        ({"stars": 5.01}, "stars: not in [1, 5]"),
        ({"stars": float("nan")}, "stars: not in [1, 5]"),
        ({"date": 20150102}, "date: not a string"),
        ({"date": "2015-02-30"}, "date: not YYYY-MM-DD HH:MM:SS"),
        ({"date": "1969-12-31 23:59:59"}, "date: not between 1970 and 2100"),
        ({"date": "2100-01-01 00:00:01"}, "date: not between 1970 and 2100"),
    ],
)
def test_required_fields(yelp, changes, reason):
    with pytest.raises(records.RecordError) as caught:
        records.review_row(yelp.review(0, **changes), [])
    assert str(caught.value) == reason


@pytest.mark.parametrize("table", tables.SCHEMAS)
def test_missing_required_fields(yelp, table):
    record = {"interactions": yelp.review, "users": yelp.user, "businesses": yelp.business}[table]()
    for key in records.REQUIRED_FIELDS[table]:
        rest = {name: value for name, value in record.items() if name != key}
        with pytest.raises(records.RecordError, match=f"^{key}: missing$"):
            records.ROW_MAKERS[table](rest, [])


def test_optional_votes(yelp):
    ignored = []
    review = yelp.review(0, useful=-1, funny=2.0, cool="3")
    row = as_dict("interactions", records.review_row(review, ignored))
    assert (row["useful"], row["funny"], row["cool"]) == (-1, 2, None)
    assert ignored == ["cool"]
    del review["useful"]
    row = as_dict("interactions", records.review_row({**review, "funny": None}, ignored))
    assert (row["useful"], row["funny"]) == (None, None)


def test_user(yelp):
    ignored = []
    row = as_dict("users", records.user_row(yelp.user(3, elite="2019,20,20"), ignored))
    assert row["user_id"] == "user-3"
    # 40 years and 10 leap days; May 6 is day 125 of the year.
    assert row["yelping_since_seconds"] == (40 * 365 + 10 + 125) * 86400 + 7 * 3600 + 8 * 60 + 9
    assert row["num_elite_years"] == 2
    assert (row["num_friends"], row["friends"]) == (2, ["user-1", "user-2"])
    assert (row["fans"], row["useful"], row["compliment_hot"]) == (4, 5, 2)
    assert row["compliment_photos"] is None
    assert ignored == []


def test_user_without_friends_is_not_a_user_of_whom_nothing_is_known(yelp):
    alone = as_dict("users", records.user_row(yelp.user(friends="None"), []))
    assert (alone["num_friends"], alone["friends"]) == (0, [])
    unknown = as_dict("users", records.user_row(yelp.user(friends=None), []))
    assert (unknown["num_friends"], unknown["friends"]) == (None, None)


def test_unusable_user_fields_are_counted(yelp):
    ignored = []
    user = yelp.user(
        elite="x", yelping_since="1960-01-01", fans=-1, useful=True, funny=2**63, friends=3
    )
    row = as_dict("users", records.user_row(user, ignored))
    unusable = ["elite", "fans", "friends", "funny", "useful", "yelping_since"]
    assert sorted(ignored) == unusable
    assert row["num_elite_years"] is row["fans"] is row["useful"] is row["funny"] is None


def test_business(yelp):
    ignored = []
    row = as_dict("businesses", records.business_row(yelp.business(5), ignored))
    assert row == {
        "business_id": "business-5",
        "name": "Invented 5",
        "city": "Springfield",
        "state": "ZZ",
        "postal_code": "00000",
        "latitude_degrees": 12.5,
        "longitude_degrees": -45.25,
        "is_open": 1,
        "price_range": 2,
        "categories": ["Noodles", "Soup"],
        "attributes": ["WiFi=no", "RestaurantsPriceRange2=2"],
        "opening_minutes": [0, -1, -1, -1, 1020, -1, -1],
        "closing_minutes": [1440, -1, -1, -1, 1440 + 150, -1, -1],
    }
    assert ignored == []


def test_business_of_nulls(yelp):
    ignored = []
    keys = set(yelp.business()) - {"business_id"}
    nulls = records.business_row(yelp.business(5, **dict.fromkeys(keys)), ignored)
    alone = records.business_row({"business_id": "business-5"}, ignored)
    empty = records.business_row(
        {"business_id": "business-5", "city": "", "categories": "", "attributes": {}, "hours": {}},
        ignored,
    )
    assert nulls == alone == empty == ("business-5", *[None] * 12)
    assert ignored == []


def test_unusable_business_fields_are_counted(yelp):
    ignored = []
    business = yelp.business(
        latitude=91,
        longitude=float("inf"),
        is_open=2,
        postal_code=12345,
        categories=["Soup"],
        attributes={"Music": "[1]", "RestaurantsPriceRange2": "'cheap'", "WiFi": "'free'"},
        hours={"Monday": "noon"},
    )
    row = as_dict("businesses", records.business_row(business, ignored))
    assert sorted(ignored) == [
        "attributes.Music",
        "attributes.RestaurantsPriceRange2",
        "categories",
        "hours",
        "is_open",
        "latitude",
        "longitude",
        "postal_code",
    ]
    assert row["attributes"] == ["RestaurantsPriceRange2=cheap", "WiFi=free"]
    assert row["price_range"] is row["opening_minutes"] is row["closing_minutes"] is None
