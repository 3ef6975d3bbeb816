"""Every feature key of the three tables, and the bridge from entities to roles.

Up to the Transform graphs data is about *users*, *businesses* and *interactions*; from the towers
onward a user is a *query* and a business a *candidate*. Only this module speaks both languages.
"""

# Keys that every table or several tables share.
USER_ID = "user_id"
BUSINESS_ID = "business_id"

# Interactions: one row a review.
REVIEW_ID = "review_id"
STARS = "stars"
TIMESTAMP_SECONDS = "timestamp_seconds"
INTERACTION_VOTES = ("useful", "funny", "cool")

# Users: one row a user. Yelp's own `average_stars` and `review_count` are left out on purpose:
# they are computed over all reviews, those of the test split too.
USER_YELPING_SINCE_SECONDS = "yelping_since_seconds"
USER_NUM_ELITE_YEARS = "num_elite_years"
USER_ELITE_YEARS = "elite_years"
USER_NUM_FRIENDS = "num_friends"
USER_FRIENDS = "friends"
USER_COUNTS = (
    "fans",
    "useful",
    "funny",
    "cool",
    "compliment_hot",
    "compliment_more",
    "compliment_profile",
    "compliment_cute",
    "compliment_list",
    "compliment_note",
    "compliment_plain",
    "compliment_cool",
    "compliment_funny",
    "compliment_writer",
    "compliment_photos",
)

# Businesses: one row a business. Yelp's own `stars` and `review_count` are left out likewise.
BUSINESS_NAME = "name"
BUSINESS_CITY = "city"
BUSINESS_STATE = "state"
BUSINESS_POSTAL_CODE = "postal_code"
BUSINESS_LATITUDE_DEGREES = "latitude_degrees"
BUSINESS_LONGITUDE_DEGREES = "longitude_degrees"
BUSINESS_IS_OPEN = "is_open"
BUSINESS_PRICE_RANGE = "price_range"
BUSINESS_CATEGORIES = "categories"
# Tokens `Key=value` and, for nested attributes, `Key.subkey=value`: "WiFi=no",
# "BusinessParking.lot=True".
BUSINESS_ATTRIBUTES = "attributes"
# Seven values, Monday to Sunday, in minutes after midnight; -1 on a day without hours; both
# features absent where Yelp gives no hours at all. A place that closes after midnight closes at
# more than 1440.
BUSINESS_OPENING_MINUTES = "opening_minutes"
BUSINESS_CLOSING_MINUTES = "closing_minutes"
# The most telling words of a business's training reviews; only where a run asks for them.
BUSINESS_REVIEW_TERMS = "review_terms"

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# The id column that names a row of each table.
TABLE_IDS = {"interactions": REVIEW_ID, "users": USER_ID, "businesses": BUSINESS_ID}

# Splits of the interactions; the users and businesses tables have the one split ALL.
TRAIN, EVAL, TEST = "train", "eval", "test"
INTERACTION_SPLITS = (TRAIN, EVAL, TEST)
ALL = "all"

# The range of a rating in stars.
MIN_STARS, MAX_STARS = 1.0, 5.0
