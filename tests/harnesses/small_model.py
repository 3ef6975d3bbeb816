"""Models of seven users and five businesses, for tests of the models themselves."""

import numpy as np
import tensorflow as tf

from models.aggregates import sum_ratings
from models.bias import fit_bias
from models.options import ModelOptions
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.rating_model import RatingModel
from models.retrieval_model import RetrievalModel
from models.ridge import Priors
from models.tables import Bag, EntityTable, Interactions
from models.taste import taste_coordinates
from models.two_tower import TwoTowerModel

NUM_USERS, NUM_BUSINESSES = 7, 5
# Business 4 has no ratings, user 6 neither.
RATINGS = Interactions(
    np.array([0, 0, 1, 2, 2, 2, 3, 4, 5], np.int32),
    np.array([0, 1, 2, 0, 1, 3, 3, 2, 0], np.int32),
    np.array([5, 3, 4, 1, 2, 5, 4, 4, 3], np.float32),
)


def entities() -> tuple[EntityTable, EntityTable]:
    """Makes the users, each with three covariates, and the businesses."""
    rng = np.random.default_rng(0)
    users = EntityTable(
        ids=np.array([b"u%d" % row for row in range(NUM_USERS)], object),
        numeric=rng.normal(size=(NUM_USERS, 3)).astype(np.float32),
    )
    bags = {
        key: Bag.from_pairs(np.array([0, 0, 2, 3]), np.array([1, 0, 2, 1], np.int32), 5)
        for key in (CATEGORIES, ATTRIBUTES)
    }
    businesses = EntityTable(
        ids=np.array([b"b%d" % row for row in range(NUM_BUSINESSES)], object),
        numeric=rng.normal(size=(NUM_BUSINESSES, 4)).astype(np.float32),
        categorical={CITY: np.array([0, 1, 0, 1, 1], np.int32)},
        bags=bags,
        vocabulary_sizes={CITY: 3, CATEGORIES: 4, ATTRIBUTES: 4},
        content=rng.normal(size=(NUM_BUSINESSES, 2)).astype(np.float32),
    )
    return users, businesses


def build(**changes) -> TwoTowerModel:
    """Builds both models, with weights that are drawn, and options that a test may change."""
    users, businesses = entities()
    options = ModelOptions(
        embedding_dim=4,
        rating_dim=3,
        tower_widths=(5,),
        taste_dim=1,
        temperature=0.12,
        history_power=0.5,
        **{
            "user_embedding": False,
            "query_covariates": 0.3,
            "candidate_covariates": 0.3,
            "user_profile_dropout": 0.0,
            **changes,
        },
    )
    rng = np.random.default_rng(4)
    priors = Priors(
        rng.normal(size=NUM_USERS),
        rng.normal(size=NUM_BUSINESSES),
        rng.normal(size=users.numeric.shape[1]),
        0.2,
        -0.3,
        np.zeros(0),
    )
    bias = fit_bias(RATINGS, NUM_USERS, NUM_BUSINESSES, 2.0, 2.0, priors=priors)
    taste = taste_coordinates(RATINGS, NUM_USERS, businesses, 1, seed=0)
    directions = np.random.default_rng(1).normal(size=(NUM_BUSINESSES, 4)).astype(np.float32)
    histories = RATINGS.histories(NUM_USERS)
    model = TwoTowerModel(
        RetrievalModel(options, users, businesses, histories, directions),
        RatingModel(options, users, businesses, sum_ratings(RATINGS, bias, taste=taste)),
    )
    model.rating.compute_loss(rating_batch(model.rating))
    model.retrieval.compute_loss(retrieval_batch())
    # Weights that start at zero would hide what they do.
    rng = np.random.default_rng(2)
    for part in (model.retrieval, model.rating):
        for variable in part.trainable_variables:
            variable.assign(rng.normal(scale=0.5, size=variable.shape))
    return model


def rating_batch(model: RatingModel) -> dict:
    """Makes a batch of all ratings, shown the sums of everything, as at serving time."""
    return {
        "user_rows": tf.constant(RATINGS.user_rows),
        "business_rows": tf.constant(RATINGS.business_rows),
        "stars": tf.constant(RATINGS.stars),
        "user_sums": tf.constant(model.sums.users[RATINGS.user_rows]),
        "business_sums": tf.constant(model.sums.businesses[RATINGS.business_rows]),
        "business_priors": tf.gather(
            tf.constant(model.sums.bias.priors.businesses, tf.float32), RATINGS.business_rows
        ),
    }


def retrieval_batch() -> dict:
    """Makes a batch of two users over the catalogue, without the business that nobody visited."""
    return {
        "query_rows": tf.constant([0, 2]),
        "candidate_rows": tf.range(NUM_BUSINESSES),
        "candidate_offsets": tf.constant([0.0, 0.0, 0.0, 0.0, -np.inf], tf.float32),
        "histories": tf.ragged.constant([[0], [1, 3]], tf.int32),
        "positives": tf.ragged.constant([[1], [0]], tf.int32),
    }
