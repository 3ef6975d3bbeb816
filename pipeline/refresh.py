"""`t2rec refresh`: a new version with other businesses or users, without training."""

import dataclasses
import logging
import os
import tempfile
from concurrent import futures

import numpy as np
import tensorflow as tf

from components.pusher import model_card, versions
from components.yelp_example_gen import single_tables, tables, tfrecords
from models import export, index_tuning, refresh
from models.errors import InputError
from models.index_recall import Recall
from models.index_tuning import Tuned
from models.places import read_places
from models.query_encoder import USER_COVARIATES
from models.recommender_tables import RecommenderTables
from models.tables import IdIndex
from serving.model_folders import find_version

# Queries that an index is held against exact search by, half of them to tune it if need be.
_NUM_QUERIES = 1_000
# Businesses that are read at once.
_READ_ROWS = 4_096

_LOG = logging.getLogger("t2rec")


@dataclasses.dataclass(frozen=True)
class Refreshed:
    """What a refresh came to.

    Attributes:
      version: The new version; None if the index fell short, and nothing was pushed.
      counts: What there is and what changed.
      recall: Recall@10 of the index against exact search.
    """

    version: int | None
    counts: dict[str, int]
    recall: Recall


def refresh_export(
    model: str,
    businesses: str,
    users: str,
    target_recall: float,
    max_reject_fraction: float,
    max_removed_fraction: float,
) -> Refreshed:
    """Embeds what files hold, builds the index anew and pushes both exports.

    Args:
      model: As `serving.model_folders.find_version` takes it: a version for exact search.
      businesses: JSON-lines file of all businesses there shall be, "" to leave them as they are.
      users: Likewise of users.
      target_recall: What the index must find of the true ten best.
      max_reject_fraction: The largest fraction of a file's lines that may be unusable.
      max_removed_fraction: The largest fraction of what the model knows that a file may lack.

    Raises:
      InputError: If a file can't be used or lacks too much, or the export keeps nothing to be
        refreshed by.
    """
    path = find_version(model)
    model_dir, version = os.path.split(path)
    if not version.isdecimal() or os.path.basename(model_dir) != versions.EXACT_MODEL:
        raise InputError(
            f"Expected a version of {versions.EXACT_MODEL!r} that a run pushed; got {path!r}. Give "
            "the root of the run, or its serving/t2rec."
        )
    serving_dir = os.path.dirname(model_dir)
    exported = export.load_refreshable(path)
    counts: dict[str, int] = {}
    if businesses:
        table = single_tables.read_table(tables.BUSINESSES, businesses, max_reject_fraction)
        _count(counts, table, "businesses", exported.tables.business_ids, max_removed_fraction)
        exported = _refresh_businesses(exported, table)
    if users:
        table = single_tables.read_table(tables.USERS, users, max_reject_fraction)
        _count(counts, table, "users", exported.tables.user_ids, max_removed_fraction)
        exported = _refresh_users(exported, table)
    queries = _draw_queries(exported.tables)
    scann_path = os.path.join(serving_dir, versions.SCANN_MODEL, version)
    with tempfile.TemporaryDirectory() as folder, futures.ThreadPoolExecutor(1) as pool:
        made = {name: os.path.join(folder, name) for name in _MODELS}
        # ScaNN builds its index outside Python, which has time to write the exact twin meanwhile.
        saving = pool.submit(export.save_refreshable, exported, made[versions.EXACT_MODEL])
        tuned, recalls = _index(exported.tables, queries, scann_path, target_recall)
        saving.result()
        recall = Recall.of(recalls)
        if recall.falls_short(target_recall):
            return Refreshed(None, counts, recall)
        assets = os.path.join(folder, "assets")
        os.mkdir(assets)
        export.save(
            tuned.recommender(exported.tables, exported.encoder, assets),
            made[versions.SCANN_MODEL],
        )
        number = versions.next_version([os.path.join(serving_dir, name) for name in made])
        index = {
            "recall@10": recall.mean,
            "recall@10_standard_error": recall.error,
            "num_queries": len(recalls),
            "num_candidates": len(exported.tables.business_ids),
            "num_leaves": tuned.index.num_leaves if tuned.index else 0,
        }
        for name, source in made.items():
            earlier = model_card.read(os.path.join(serving_dir, name, version))
            card = earlier and model_card.refresh(
                earlier, model_card.read_export(source, name, number), counts, index
            )
            texts = model_card.files(card) if card else None
            versions.push(source, os.path.join(serving_dir, name), number, texts)
    return Refreshed(number, counts, recall)


# The exact twin comes last: who finds it finds the other, too.
_MODELS = (versions.SCANN_MODEL, versions.EXACT_MODEL)


def _refresh_businesses(
    exported: refresh.Export, table: single_tables.SingleTable
) -> refresh.Export:
    """Takes over a table of businesses."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "businesses")
        with open(path, "wb") as file:
            for chunk in tfrecords.encode_table(table.rows):
                file.write(chunk)
        batches = tf.data.TFRecordDataset(path).batch(_READ_ROWS).as_numpy_iterator()
        examples = np.concatenate([np.zeros(0, object), *batches])
        places = read_places([path])
    return refresh.refresh_businesses(exported, _ids(table), examples, places)


def _refresh_users(exported: refresh.Export, table: single_tables.SingleTable) -> refresh.Export:
    """Takes over a table of users."""
    covariates = {key: table.rows[key].fill_null(-1).to_numpy() for key in USER_COVARIATES}
    return refresh.refresh_users(exported, _ids(table), covariates)


def _ids(table: single_tables.SingleTable) -> np.ndarray:
    ids = np.empty(table.rows.num_rows, object)
    ids[:] = [text.encode() for text in table.rows[0].to_pylist()]
    return ids


def _count(
    counts: dict[str, int],
    table: single_tables.SingleTable,
    kind: str,
    before: np.ndarray,
    max_removed_fraction: float,
) -> None:
    """Notes what a table changes.

    Raises:
      InputError: If it lacks too much of what there was.
    """
    now = _ids(table)
    known = np.count_nonzero(IdIndex(before).rows(now) >= 0)
    removed = int(len(before) - known)
    if removed > max_removed_fraction * len(before):
        raise InputError(
            f"Expected a file with most of the {len(before):,} {kind} that the model knows; got "
            f"one that lacks {removed:,} of them. Give all that there shall be, or "
            "--max-removed-fraction 1 if that is meant."
        )
    counts |= {
        kind: len(now),
        f"new {kind}": int(len(now) - known),
        f"removed {kind}": removed,
        f"rejected lines of {kind}": len(table.rejects),
    }
    if table.num_repeated:
        _LOG.info("of %d ids that come again the last line counts", table.num_repeated)


def _draw_queries(tables_: RecommenderTables) -> np.ndarray:
    rng = np.random.default_rng(0)
    num_users = len(tables_.user_ids)
    rows = rng.choice(num_users, min(num_users, _NUM_QUERIES), replace=False)
    return tables_.query_embeddings[rows].astype(np.float32)


def _index(
    tables_: RecommenderTables, queries: np.ndarray, scann_path: str, target_recall: float
) -> tuple[Tuned, np.ndarray]:
    """Builds the index with the settings of before; tries harder only if it falls short."""
    choosing, reporting = queries[::2], queries[1::2]
    if len(reporting) == 0:
        reporting = choosing
    tuned = index_tuning.rebuild(scann_path, tables_)
    if tuned is not None:
        recalls = tuned.recalls(tables_, reporting)
        if not Recall.of(recalls).falls_short(target_recall):
            return tuned, recalls
        _LOG.info("the index falls short with its earlier settings: choosing how hard to search")
    indexes = [tuned.index] if tuned and tuned.index else None
    tuned = index_tuning.tune(tables_, choosing, target_recall, indexes)
    return tuned, tuned.recalls(tables_, reporting)
