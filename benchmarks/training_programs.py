"""The programs that `benchmarks.training` measures, each in a process of its own.

Each writes how much it got done, and in how many CPU seconds, as JSON. Data, tracing and whatever
else happens once come before the clock starts.
"""

import json
import sys
import time

import numpy as np

from models import metrics
from models.options import ModelOptions, TrainingOptions
from models.preprocessing import ATTRIBUTES, CATEGORIES, CITY
from models.tables import Bag, EntityTable, Interactions

RETRIEVAL_BATCH, RATING_BATCH = 4_096, 2_048
CUT_OFFS = (10, 20, 50)
EMBEDDING_DIM = 64
_WARM_UP_STEPS = 5
_FLOOR_QUERIES = 512


def generate(path: str, num_users: str, num_businesses: str, num_pairs: str) -> None:
    """Writes distinct pairs with stars; few users and businesses have most of them.

    Activity of users is log-normal, popularity falls with the rank to the power of .8: about what
    public sets of visits show.
    """
    rng = np.random.default_rng(0)
    users, businesses, pairs = int(num_users), int(num_businesses), int(num_pairs)
    activity = np.cumsum(rng.lognormal(sigma=1.0, size=users))
    popularity = np.cumsum(rng.permutation(np.arange(1, businesses + 1) ** -0.8))
    cells = np.zeros(0, np.int64)
    while len(cells) < pairs:
        rows, columns = (
            np.searchsorted(totals, rng.random(pairs) * totals[-1])
            for totals in (activity, popularity)
        )
        cells = np.unique(np.concatenate([cells, rows * businesses + columns]))
    cells = rng.permutation(cells)[:pairs]
    stars = np.clip(np.round(rng.normal(3.8, 1.2, pairs)), 1, 5)
    np.savez(
        path,
        sizes=[users, businesses],
        user_rows=(cells // businesses).astype(np.int32),
        business_rows=(cells % businesses).astype(np.int32),
        stars=stars.astype(np.float32),
    )


def _read(path: str) -> tuple[EntityTable, EntityTable, Interactions]:
    """Reads the pairs and makes tables of ids, without covariates, to go with them."""
    with np.load(path) as arrays:
        num_users, num_businesses = map(int, arrays["sizes"])
        pairs = Interactions(arrays["user_rows"], arrays["business_rows"], arrays["stars"])
    nothing = Bag(np.zeros(0, np.int32), np.zeros(num_businesses + 1, np.int64))
    businesses = EntityTable(
        # As long as Yelp's.
        ids=np.char.mod(b"business%014d", np.arange(num_businesses)),
        numeric=np.zeros([num_businesses, 1], np.float32),
        categorical={CITY: np.zeros(num_businesses, np.int32)},
        bags={CATEGORIES: nothing, ATTRIBUTES: nothing},
        vocabulary_sizes={CITY: 1, CATEGORIES: 1, ATTRIBUTES: 1},
    )
    users = EntityTable(
        ids=np.char.mod(b"user%018d", np.arange(num_users)),
        numeric=np.zeros([num_users, 1], np.float32),
    )
    return users, businesses, pairs


def ours(
    users: EntityTable, businesses: EntityTable, interactions: Interactions, task: str, steps: int
) -> tuple[float, float]:
    """Trains for one task with the loop of `models.training` and measures its steps.

    Args:
      users: All users.
      businesses: All businesses.
      interactions: What to learn from.
      task: `retrieval`, with a vector of each user, asked for all that they visited; `history`,
        users embedded from a share of it and asked for the rest; or `rating`.
      steps: Steps to measure.

    Returns:
      Examples, ratings or businesses that users were asked for, and their CPU seconds.
    """
    import tensorflow as tf

    from models.rating_data import RatingSource
    from models.rating_model import RatingModel
    from models.rating_training import RatingLoop
    from models.retrieval_model import RetrievalModel
    from models.retrieval_training import RetrievalLoop
    from models.training_loop import TrainingLoop

    model_options = ModelOptions(
        embedding_dim=EMBEDDING_DIM,
        rating_dim=16,
        tower_widths=(64, 64),
        taste_dim=0,
        temperature=0.12,
        history_power=0.5,
        user_embedding=task == "retrieval",
        query_covariates=0.0,
        candidate_covariates=0.0,
    )
    options = TrainingOptions(
        rating_batch_size=RATING_BATCH,
        rating_epochs=8,
        rating_learning_rate=1e-3,
        retrieval_learning_rate=6e-3,
    )
    options = options.for_ratings(len(interactions))
    loop: TrainingLoop
    if task == "rating":
        source = RatingSource(interactions, users, businesses, (8.0, 4.0), 10.0, options)
        rating = RatingModel(model_options, users, businesses, source.sums(0))
        loop = RatingLoop(rating, source.rows(0), options)
    else:
        histories = interactions.histories(users.num_rows)
        directions = np.random.default_rng(0).normal(size=(businesses.num_rows, EMBEDDING_DIM))
        retrieval = RetrievalModel(
            model_options, users, businesses, histories, directions.astype(np.float32)
        )
        loop = RetrievalLoop(retrieval, histories, options)
    batches = loop.batches()
    loop.create(next(batches))
    loop.prepare(_WARM_UP_STEPS + steps)
    for _ in range(_WARM_UP_STEPS):
        loop.step(next(batches))
    start, examples = time.process_time(), 0
    for _ in range(steps):
        batch = next(batches)
        loop.step(batch)
        asked = batch["stars"] if task == "rating" else batch["positives"].values
        examples += int(tf.size(asked))
    return examples, time.process_time() - start


def textbook(
    users: EntityTable, businesses: EntityTable, interactions: Interactions, task: str, steps: int
) -> tuple[float, float]:
    """Trains as the tutorials of TensorFlow Recommenders do: ids as strings, Keras's `fit`.

    Args:
      users: All users.
      businesses: All businesses.
      interactions: What to learn from.
      task: `retrieval` or `rating`.
      steps: Steps to measure.

    Returns:
      Examples and their CPU seconds.
    """
    import tensorflow as tf

    task = "rating" if task == "rating" else "retrieval"
    model, batch = _textbook_model(users, businesses, task)
    dataset = _textbook_dataset(users, businesses, interactions).shuffle(100_000, seed=0)
    clock: list[float] = []
    model.fit(
        dataset.repeat().batch(batch).prefetch(2),
        steps_per_epoch=_WARM_UP_STEPS + steps,
        callbacks=[
            tf.keras.callbacks.LambdaCallback(
                on_batch_end=lambda step, logs: clock.append(time.process_time())
            )
        ],
        verbose=0,
    )
    return steps * batch, clock[-1] - clock[_WARM_UP_STEPS - 1]


def _textbook_model(users: EntityTable, businesses: EntityTable, task: str, metric=None):
    """Makes a compiled model and says how many examples it takes a step.

    Args:
      users: All users.
      businesses: All businesses.
      task: `retrieval`, embeddings in an in-batch softmax, or `rating`, two layers on top of each
        embedding and the mean squared error of the inner product.
      metric: Makes the metric of retrieval out of `[num_businesses, dim]` embeddings.
    """
    import tensorflow as tf
    import tensorflow_recommenders as tfrs

    def tower(ids: np.ndarray) -> tf.keras.Sequential:
        layers = [
            tf.keras.layers.StringLookup(vocabulary=ids, mask_token=None),
            tf.keras.layers.Embedding(len(ids) + 1, EMBEDDING_DIM),
        ]
        if task == "rating":
            layers += [tf.keras.layers.Dense(64, "relu"), tf.keras.layers.Dense(64)]
        return tf.keras.Sequential(layers)

    class Model(tfrs.Model):
        def __init__(self):
            super().__init__()
            self.users, self.businesses = tower(users.ids), tower(businesses.ids)
            if task == "rating":
                self.task = tfrs.tasks.Ranking(loss=tf.keras.losses.MeanSquaredError())
            else:
                embeddings = metric and self.businesses(tf.constant(businesses.ids))
                self.task = tfrs.tasks.Retrieval(metrics=metric and metric(embeddings))

        def compute_loss(self, inputs, training=False):
            queries = self.users(inputs["user_id"])
            candidates = self.businesses(inputs["business_id"])
            if task == "retrieval":
                return self.task(queries, candidates, compute_metrics=not training)
            predicted = tf.reduce_sum(queries * candidates, axis=1)
            return self.task(labels=inputs["stars"], predictions=predicted)

    model = Model()
    model.compile(tf.keras.optimizers.Adam(1e-3))
    return model, RATING_BATCH if task == "rating" else RETRIEVAL_BATCH


def _textbook_dataset(users: EntityTable, businesses: EntityTable, interactions: Interactions):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices({
        "user_id": users.ids[interactions.user_rows],
        "business_id": businesses.ids[interactions.business_rows],
        "stars": interactions.stars,
    })


def _embeddings(table: EntityTable, seed: int) -> np.ndarray:
    shape = (table.num_rows, EMBEDDING_DIM)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def floor(users, businesses, interactions, task: str, num_queries: int) -> tuple[int, float]:
    """Scores the catalogue with the matrix product alone, and takes each query's maximum."""
    del interactions, task
    queries, candidates = _embeddings(users, 0)[:num_queries], _embeddings(businesses, 1)
    start = time.process_time()
    scores = np.empty([_FLOOR_QUERIES, len(candidates)], np.float32)
    for first in range(0, len(queries), _FLOOR_QUERIES):
        part = queries[first : first + _FLOOR_QUERIES]
        np.matmul(part, candidates.T, out=scores[: len(part)]).max(axis=1)
    return len(queries), time.process_time() - start


def top_k(users, businesses, interactions, task: str, num_queries: int) -> tuple[int, float]:
    """Ranks the catalogue without what each user has, as evaluation does."""
    del task
    queries, candidates = _embeddings(users, 0)[:num_queries], _embeddings(businesses, 1)
    seen = interactions.histories(users.num_rows)
    start = time.process_time()
    metrics.top_k(queries, candidates, max(CUT_OFFS), seen)
    return len(queries), time.process_time() - start


def brute_force(users, businesses, interactions, task: str, num_pairs: int) -> tuple[int, float]:
    """Evaluates with FactorizedTopK on the layer BruteForce, a test pair a row."""
    import tensorflow_recommenders as tfrs

    def metric(embeddings):
        index = tfrs.layers.factorized_top_k.BruteForce(k=max(CUT_OFFS)).index(embeddings)
        return tfrs.metrics.FactorizedTopK(index, ks=CUT_OFFS)

    return _evaluate_textbook(users, businesses, interactions, task, num_pairs, metric)


def streaming(users, businesses, interactions, task: str, num_pairs: int) -> tuple[int, float]:
    """Evaluates with FactorizedTopK on a dataset of candidates: its default layer, Streaming."""
    import tensorflow as tf
    import tensorflow_recommenders as tfrs

    def metric(embeddings):
        candidates = tf.data.Dataset.from_tensor_slices(embeddings).batch(RETRIEVAL_BATCH).cache()
        return tfrs.metrics.FactorizedTopK(candidates, ks=CUT_OFFS)

    return _evaluate_textbook(users, businesses, interactions, task, num_pairs, metric)


def _evaluate_textbook(users, businesses, interactions, task, num_pairs, metric):
    model, batch = _textbook_model(users, businesses, task, metric)
    for rows in (slice(batch), slice(num_pairs)):  # The first run traces.
        dataset = _textbook_dataset(users, businesses, interactions[rows]).batch(batch)
        start = time.process_time()
        model.evaluate(dataset, verbose=0)
    return min(num_pairs, len(interactions)), time.process_time() - start


PROGRAMS = {
    program.__name__: program for program in (ours, textbook, floor, top_k, brute_force, streaming)
}


def main(name: str, path: str, *arguments: str) -> None:
    """Generates data, or runs a program.

    Args:
      name: `generate` or a program.
      path: The data.
      arguments: Sizes of the data; or the task, the length of the run and where to report.
    """
    if name == "generate":
        generate(path, *arguments)
        return
    task, length, out = arguments
    tables = _read(path)
    done, cpu_seconds = PROGRAMS[name](*tables, task, int(length))
    with open(out, "w") as file:
        json.dump({"done": float(done), "cpu_seconds": cpu_seconds}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
