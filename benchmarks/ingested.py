"""Reads what `benchmarks.ingest_pipeline` wrote: the tables that training takes."""

import glob

from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from components import entity_tables, examples
from models import features
from models.tables import EntityTable, Interactions


def read(root: str) -> tuple[EntityTable, EntityTable, Interactions, Interactions, Interactions]:
    """Reads users, businesses and the splits train, eval and test.

    Args:
      root: Where `benchmarks.ingest_pipeline` wrote.
    """

    def artifact(kind: type[types.Artifact], node: str, key: str, *splits: str) -> list:
        (uri,) = glob.glob(f"{root}/artifacts/{node}/{key}/*")
        found = kind()
        found.uri = uri
        if splits:
            found.split_names = artifact_utils.encode_split_names(list(splits))
        return [found]

    entities, graphs = {}, {}
    for table in ("users", "businesses"):
        node = f"Transform.{table}"
        kinds = (standard_artifacts.Examples, standard_artifacts.TransformGraph)
        entities[table] = artifact(kinds[0], node, "transformed_examples", features.ALL)
        graphs[table] = artifact(kinds[1], node, "transform_graph")
    interactions = artifact(
        standard_artifacts.Examples, "YelpExampleGen", "interactions", *features.INTERACTION_SPLITS
    )
    star = examples.StarSchema(interactions, **entities)
    return (
        entity_tables.read_users(entities["users"], graphs["users"]),
        entity_tables.read_businesses(entities["businesses"], graphs["businesses"]),
        *(star.read(split) for split in features.INTERACTION_SPLITS),
    )
