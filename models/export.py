"""Writes, reads back and rebuilds the SavedModels."""

import tempfile
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from models import exported_tables, refresh, signature_descriptions, warmup_requests
from models.candidate_encoder import CandidateEncoder
from models.errors import InputError
from models.places import Places
from models.query_encoder import QueryEncoder
from models.recommender import Recommender
from models.recommender_tables import RecommenderTables
from models.tables import Bag, Interactions
from models.two_tower import TwoTowerModel

if TYPE_CHECKING:  # It brings Beam along, and only names a type here.
    import tensorflow_transform as tft


def build_tables(
    model: TwoTowerModel,
    user_ids: np.ndarray,
    business_ids: np.ndarray,
    seen: Bag,
    places: Places,
) -> RecommenderTables:
    """Embeds everybody and everything that the model knows.

    Args:
      model: A trained model.
      user_ids: `[num_users]` array of `bytes`, in row order.
      business_ids: `[num_businesses]` array of `bytes`, in row order.
      seen: By user, the rows of the businesses that they rated in training.
      places: What requests filter by.
    """
    objective = model.options.objective
    retrieval, rating = model.retrieval, model.rating
    candidates = model.embed_candidates()
    queries = model.embed_queries(candidates, np.arange(len(user_ids)))
    by_retrieval = bool(objective.retrieval)
    return RecommenderTables(
        user_ids=user_ids,
        business_ids=business_ids,
        query_embeddings=np.concatenate([queries, model.embed_new_query()]).astype(np.float16),
        candidate_embeddings=np.concatenate([candidates, model.embed_new_candidate()]),
        retrieval_weight=float(by_retrieval),
        rating_weight=float(not by_retrieval),
        rating_dim=rating.block_dim,
        seen=seen,
        mean_stars=rating.sums.bias.mean_stars,
        mean_age_years=rating.sums.mean_age_years,
        business_bias=rating.sums.bias.business_bias.astype(np.float32),
        taste=rating.sums.taste.businesses,
        history_weights=retrieval.history_weights.numpy(),
        factor_ridge=rating.factors.ridge,
        factor_weight=rating.factors.weight,
        places=places,
        low_pass_dim=retrieval.low_pass.dim,
        low_pass_weight=retrieval.low_pass.weight,
        low_pass_history_weights=retrieval.low_pass.history_weights,
    )


def save(recommender: Recommender, path: str) -> None:
    """Writes a SavedModel with all signatures, their description and requests to warm it up.

    Args:
      recommender: What to export.
      path: Folder of the SavedModel, made if it is missing.
    """
    tf.saved_model.save(
        recommender,
        path,
        signatures=recommender.signatures(),
        options=tf.saved_model.SaveOptions(namespace_whitelist=["Scann"]),
    )
    signature_descriptions.write(path)
    warmup_requests.write(path, recommender.tables)


def save_exact(
    model: TwoTowerModel,
    tables: RecommenderTables,
    fitted: Interactions,
    user_transform: "tft.TFTransformOutput",
    business_transform: "tft.TFTransformOutput",
    path: str,
) -> None:
    """Exports a trained model for exact search.

    Args:
      model: The trained model.
      tables: What `build_tables` made of it.
      fitted: The interactions that it learnt from.
      user_transform: The users' Transform graph.
      business_transform: The businesses' Transform graph.
      path: Folder of the SavedModel.
    """
    encoder = QueryEncoder(
        model.query_tower,
        user_transform.transform_features_layer(),
        model.rating.sums.users.shape[1],
        int(model.options.embedding_dim),
    )
    candidate_encoder = CandidateEncoder(
        model,
        business_transform.transform_features_layer(),
        business_transform.raw_feature_spec(),
    )
    sizes = len(tables.user_ids), len(tables.business_ids)
    user_vectors = model.retrieval.user_vectors.numpy()
    kept = refresh.of_training(candidate_encoder, user_vectors, fitted, sizes)
    save_refreshable(refresh.Export(tables, encoder, kept), path)


def save_refreshable(exported: refresh.Export, path: str) -> None:
    """Writes an export for exact search that can be refreshed.

    Args:
      exported: What to write.
      path: Folder of the SavedModel.
    """
    with tempfile.TemporaryDirectory() as assets:
        save(
            Recommender(
                exported.tables, exported.encoder, assets, refreshable=exported.refreshable
            ),
            path,
        )


def load_refreshable(path: str) -> refresh.Export:
    """Reads back what `save_refreshable` wrote.

    Args:
      path: Folder of a SavedModel.

    Raises:
      InputError: If the export keeps nothing that it could be refreshed by.
    """
    loaded = tf.saved_model.load(path)
    if not hasattr(loaded, "refreshable"):
        raise InputError(
            f"Expected an export for exact search, which can be refreshed, at {path!r}; got one "
            "that keeps no towers. Give the folder of `t2rec`, not of `t2rec_scann`, from a run of "
            "this release."
        )
    return refresh.Export(
        exported_tables.read_restored(loaded, path), loaded.encoder, loaded.refreshable
    )


def load_tables(path: str) -> tuple[RecommenderTables, tf.Module]:
    """Reads the tables and the query encoder back from a SavedModel.

    Args:
      path: Folder of a SavedModel that `save` wrote.

    Returns:
      The tables, and the restored encoder, fit for another `Recommender`.
    """
    loaded = tf.saved_model.load(path)
    return exported_tables.read_restored(loaded, path), loaded.encoder
