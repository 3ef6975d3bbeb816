"""Reads the artifacts of a root: the tables that training takes."""

import pathlib

from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from components import entity_tables, examples
from models import features
from models.tables import EntityTable, Interactions


def inputs(root: str) -> dict[str, list[types.Artifact]]:
    """Finds the newest of what Trainer takes, by the names of its inputs.

    Args:
      root: Where a pipeline, or `benchmarks.ingest_pipeline`, wrote.
    """

    def artifact(kind: type[types.Artifact], node: str, key: str, *splits: str) -> list:
        folders = pathlib.Path(root, "artifacts", node, key).iterdir()
        found = kind()
        found.uri = str(max(folders, key=lambda folder: int(folder.name)))
        if splits:
            found.split_names = artifact_utils.encode_split_names(list(splits))
        return [found]

    table, graph = standard_artifacts.Examples, standard_artifacts.TransformGraph
    users, businesses = "Transform.users", "Transform.businesses"
    splits = features.INTERACTION_SPLITS
    return {
        "interactions": artifact(table, "YelpExampleGen", "interactions", *splits),
        "users": artifact(table, users, "transformed_examples", features.ALL),
        "businesses": artifact(table, businesses, "transformed_examples", features.ALL),
        "raw_businesses": artifact(table, "YelpExampleGen", "businesses", features.ALL),
        "user_graph": artifact(graph, users, "transform_graph"),
        "business_graph": artifact(graph, businesses, "transform_graph"),
    }


def read(root: str) -> tuple[EntityTable, EntityTable, Interactions, Interactions, Interactions]:
    """Reads users, businesses and the splits train, eval and test.

    Args:
      root: See `inputs`.
    """
    found = inputs(root)
    star = examples.StarSchema(found["interactions"], found["users"], found["businesses"])
    splits = (star.read(split) for split in features.INTERACTION_SPLITS)
    return (*entity_tables.read_both(found), *splits)
