"""Trains the pipeline's rating towers on a world, and measures how far they are from the truth."""

import dataclasses
import time

import numpy as np
import tensorflow as tf

from models.aggregates import NUM_SUMS, CrossFitted, RatingSums
from models.bias import BiasModel
from models.options import ModelOptions, Objective, TrainingOptions
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.rating_data import RatingData
from models.rating_model import RatingModel
from models.rating_training import RatingLoop
from models.ridge import Priors
from models.tables import Bag, EntityTable, Interactions
from models.taste import Taste
from models.theory.worlds import World

# Settled on trial worlds of 1,000 and 30,000 ratings, whose seed no experiment has: at the
# pipeline's own rate, made for aggregates that say most of it, towers were far from trained.
_TRAINING = TrainingOptions(
    rating_batch_size=512,
    min_steps=200,
    rating_epochs=20,
    max_rating_examples=4_000_000,
    rating_learning_rate=1e-2,
)
_NUM_LOOKS = 8


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What came of one training.

    Attributes:
      excess_risk: Mean squared distance to the truth; a constant would have 1.
      train_loss: Mean squared error of the last batch, noise included.
      best_share: Share of the steps after which eval was best.
      cpu_seconds: CPU time of training, the world's drawing left out.
    """

    excess_risk: float
    train_loss: float
    best_share: float
    cpu_seconds: float


def fit_towers(world: World, width: int, rating_dim: int, seed: int) -> Fitted:
    """Trains towers of two hidden layers on covariates alone.

    Everybody is shown to the towers as if they had no ratings, so that nothing but covariates can
    tell. Dropout is off, as the theorem's towers have none. The weights are those of the best of
    eight looks at eval, as in the pipeline.

    Args:
      world: What to learn.
      width: Units of each hidden layer.
      rating_dim: Interaction coordinates.
      seed: Seed of weights and batches.
    """
    start = time.process_time()
    options = ModelOptions(
        objective=Objective(retrieval=0.0, rating=1.0),
        embedding_dim=1,
        rating_dim=rating_dim,
        tower_widths=(width, width),
        taste_dim=0,
        factor_dim=0,
        temperature=1.0,
        history_power=0.0,
        user_embedding=False,
        query_covariates=0.0,
        candidate_covariates=0.0,
        dropout=0.0,
        user_profile_dropout=0.0,
        user_cold_dropout=0.0,
        business_cold_dropout=0.0,
    )
    training = _TRAINING.model_copy(update={"seed": seed})
    users, businesses = entity_tables(world.user_covariates, world.business_covariates)
    num_columns, mean_stars = users.numeric.shape[1], world.train.mean_stars
    sums = no_sums(users.num_rows, businesses.num_rows, num_columns, mean_stars)
    nothing = np.zeros([len(world.train), NUM_SUMS], np.float32)
    known = CrossFitted(nothing, nothing, nothing[:, 0])
    data = RatingData(world.train, known, sums)
    tf.keras.utils.set_random_seed(seed)
    model = RatingModel(options, users, businesses, sums)
    loop = RatingLoop(model, data, training)

    def measure(model: RatingModel) -> tuple[float, dict[str, float]]:
        error = squared_error(model, world.eval)
        return -error, {"mse": error}

    looks = loop.fit(loop.num_steps, loop.num_steps, _NUM_LOOKS, measure).looks
    best = max(looks, key=lambda look: look.score)
    return Fitted(
        excess_risk=squared_error(model, world.test),
        train_loss=looks[-1].loss,
        best_share=best.step / loop.num_steps,
        cpu_seconds=time.process_time() - start,
    )


def entity_tables(
    user_covariates: np.ndarray, business_covariates: np.ndarray
) -> tuple[EntityTable, EntityTable]:
    """Makes the tables of a world, whose businesses have no tokens.

    Args:
      user_covariates: `[num_users, num_columns]` float32 array.
      business_covariates: `[num_businesses, num_columns]` float32 array.
    """
    num_users, num_businesses = len(user_covariates), len(business_covariates)
    nothing = Bag(np.zeros(0, np.int32), np.zeros(num_businesses + 1, np.int64))
    users = EntityTable(np.char.mod(b"u%09d", np.arange(num_users)), user_covariates)
    businesses = EntityTable(
        ids=np.char.mod(b"b%09d", np.arange(num_businesses)),
        numeric=business_covariates,
        categorical={CITY: np.zeros(num_businesses, np.int32)},
        bags={CATEGORIES: nothing, ATTRIBUTES: nothing},
        vocabulary_sizes={CITY: 1, CATEGORIES: 1, ATTRIBUTES: 1},
    )
    return users, businesses


def no_sums(num_users: int, num_businesses: int, num_columns: int, mean_stars: float) -> RatingSums:
    """Makes the sums of a world where nobody has ratings."""
    users, businesses = (
        np.zeros([num, NUM_SUMS], np.float32) for num in (num_users, num_businesses)
    )
    bias = BiasModel(
        mean_stars=mean_stars,
        user_bias=np.zeros(num_users, np.float32),
        business_bias=np.zeros(num_businesses, np.float32),
        user_shrinkage=1.0,
        business_shrinkage=1.0,
        priors=Priors.none(num_users, num_businesses, num_columns),
    )
    return RatingSums(users, businesses, bias, Taste.none(num_users, num_businesses))


def squared_error(model: RatingModel, ratings: Interactions) -> float:
    """Returns the mean squared error of predictions that are not clipped."""
    nothing = tf.zeros([len(ratings), NUM_SUMS])
    predicted = model.predict_stars({
        "user_rows": tf.constant(ratings.user_rows),
        "business_rows": tf.constant(ratings.business_rows),
        "user_sums": nothing,
        "business_sums": nothing,
        "business_priors": nothing[:, 0],
    })
    return float(tf.reduce_mean(tf.square(predicted - ratings.stars)))
