"""Starts training from what an earlier model learnt, matched by real ids.

What is taken over was learnt from the earlier train split alone, though the model that was pushed
had learnt from eval as well: choices on eval, and the verdict on test, must not come from a model
that has seen the answers. Where the splits moved so that an earlier training row is no longer one,
the rows of its user and business start anew; where many did, everything does.

Coordinates out of singular vectors (content, taste, the directions that candidates start from) may
come out turned and mirrored on new data. They are turned back onto the earlier ones, so that
weights which read them keep their meaning.

Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem" (1966).
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg
import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.checkpoints import Checkpoints
from models.options import AUTO, ModelOptions, TrainingOptions
from models.recipes import apply_recipe
from models.retrieval_model import RetrievalModel
from models.tables import EntityTable, IdIndex, Interactions
from models.taste import Taste

_LOG = logging.getLogger("t2rec")

# Of the earlier training rows, the share that may not be training rows now.
_MAX_UNKNOWN = 0.01
_RECORD = "learnt"
# Options of what is computed anew in any case.
_CLOSED_FORM = {"low_pass_dim"}


@dataclasses.dataclass(frozen=True)
class Learnt:
    """What a model learnt from its train split.

    Attributes:
      user_ids: `[num_users]` array of `bytes`.
      business_ids: `[num_businesses]` array of `bytes`.
      vocabularies: By categorical or bag feature, its tokens as `bytes`, in order.
      user_rows: `[num_interactions]` int32 array: the training rows.
      business_rows: `[num_interactions]` int32 array.
      content: `[num_businesses, content_dim]` float32 array: see `EntityTable`.
      taste: The taste coordinates.
      options: Options of the model and those of training, nothing left open.
      weights: By task, its variables, in order.
    """

    user_ids: np.ndarray
    business_ids: np.ndarray
    vocabularies: Mapping[str, np.ndarray]
    user_rows: np.ndarray
    business_rows: np.ndarray
    content: np.ndarray
    taste: Taste
    options: Mapping[str, Any]
    weights: Mapping[str, list[np.ndarray]]

    def write(self, folder: str) -> None:
        """Writes the record, a TensorFlow checkpoint, into a folder."""
        tensors: dict[str, np.ndarray] = {
            "user_ids": self.user_ids,
            "business_ids": self.business_ids,
            "user_rows": self.user_rows,
            "business_rows": self.business_rows,
            "content": self.content,
            "taste_users": self.taste.users,
            "taste_businesses": self.taste.businesses,
            "taste_tags": self.taste.tags,
        }
        for key, tokens in self.vocabularies.items():
            tensors[f"vocabulary/{key}"] = tokens
        for task, weights in self.weights.items():
            for place, value in enumerate(weights):
                tensors[f"weights/{task}/{place}"] = value
        told = {
            "options": dict(self.options),
            "vocabularies": list(self.vocabularies),
            "weights": {task: len(weights) for task, weights in self.weights.items()},
        }
        Checkpoints(folder).write(_RECORD, told, tensors)

    @classmethod
    def read(cls, folder: str) -> "Learnt | None":
        """Reads what `write` wrote, None if there is nothing."""
        found = Checkpoints(folder).read(_RECORD)
        if found is None:
            return None
        told, tensors = found
        return cls(
            **{
                key: tensors[key]
                for key in ("user_ids", "business_ids", "user_rows", "business_rows", "content")
            },
            vocabularies={key: tensors[f"vocabulary/{key}"] for key in told["vocabularies"]},
            taste=Taste(*(tensors[f"taste_{part}"] for part in ("users", "businesses", "tags"))),
            options=told["options"],
            weights={
                task: [tensors[f"weights/{task}/{place}"] for place in range(count)]
                for task, count in told["weights"].items()
            },
        )


class WarmStart:
    """What was learnt before, laid out by the rows of the present tables."""

    def __init__(
        self, learnt: Learnt, users: EntityTable, businesses: EntityTable, train_set: Interactions
    ):
        """Matches ids.

        Args:
          learnt: What an earlier model learnt.
          users: All users.
          businesses: All businesses.
          train_set: What training may learn from.
        """
        self._learnt = learnt
        # By present row, the earlier one, or -1.
        self._users = IdIndex(learnt.user_ids).rows(users.ids)
        self._businesses = IdIndex(learnt.business_ids).rows(businesses.ids)
        self._tokens = {}
        for key, tokens in businesses.vocabularies.items():
            earlier = learnt.vocabularies.get(key, np.zeros(0, object))
            rows = IdIndex(earlier).rows(tokens)
            # The last position stands for all tokens outside the vocabulary.
            self._tokens[key] = np.append(rows, len(earlier) if key in learnt.vocabularies else -1)
        unknown = self._unknown(users, businesses, train_set)
        self.unknown_share = float(unknown.mean()) if len(unknown) else 0.0
        # Coordinates tell nothing of single ratings; what was learnt under an id might.
        self._clean_users = _without(self._users, learnt.user_rows[unknown])
        self._clean_businesses = _without(self._businesses, learnt.business_rows[unknown])

    def _unknown(
        self, users: EntityTable, businesses: EntityTable, train_set: Interactions
    ) -> np.ndarray:
        """Tells which of the earlier training rows are none now."""
        user_rows = IdIndex(users.ids).rows(self._learnt.user_ids)[self._learnt.user_rows]
        business_rows = IdIndex(businesses.ids).rows(self._learnt.business_ids)
        business_rows = business_rows[self._learnt.business_rows]
        width = businesses.num_rows
        pairs = train_set.user_rows.astype(np.int64) * width + train_set.business_rows
        earlier = user_rows.astype(np.int64) * width + business_rows
        return ~np.isin(earlier, pairs) | (user_rows < 0) | (business_rows < 0)

    def fill(
        self, model_options: ModelOptions, options: TrainingOptions
    ) -> tuple[ModelOptions, TrainingOptions]:
        """Gives what is open the earlier values: they need not be looked for again."""
        earlier = self._learnt.options
        told = {**dict(options), **dict(model_options)}
        recipe = {
            key: earlier[key]
            for key, value in told.items()
            if value == AUTO and key in earlier and key not in _CLOSED_FORM
        }
        filled = apply_recipe(recipe, model_options, options)
        # Validated once more: JSON knows no tuples.
        return ModelOptions(**dict(filled[0])), TrainingOptions(**dict(filled[1]))

    def obstacle(self, model_options: ModelOptions) -> str:
        """Says why the start must be a cold one, "" if it need not be.

        Args:
          model_options: Options with nothing left open.
        """
        if self.unknown_share > _MAX_UNKNOWN:
            return (
                f"{self.unknown_share:.1%} of what it learnt from is not in the train split now, "
                "and might be in eval or test"
            )
        present, earlier = model_options.model_dump(mode="json"), self._learnt.options
        changed = [
            f"{key} was {earlier.get(key)}, is {value}"
            for key, value in present.items()
            if earlier.get(key) != value and key not in _CLOSED_FORM
        ]
        return f"other settings: {'; '.join(changed)}" if changed else ""

    def align_content(
        self, content: np.ndarray, tokens: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turns content coordinates, of businesses and of tokens, onto the earlier ones."""
        turn = _turn(content, self._learnt.content, self._businesses)
        return content @ turn, tokens @ turn

    def align_taste(self, taste: Taste) -> Taste:
        """Turns taste coordinates onto the earlier ones: those of visits, and those of tags."""
        dim, earlier = taste.taste_dim, self._learnt.taste
        if earlier.businesses.shape[1] != taste.businesses.shape[1]:
            return taste
        parts = np.split(taste.businesses, [dim], axis=1)
        turns = [
            _turn(part, before, self._businesses)
            for part, before in zip(parts, np.split(earlier.businesses, [dim], axis=1), strict=True)
        ]
        turned = [part @ turn for part, turn in zip(parts, turns, strict=True)]
        return Taste(taste.users @ turns[0], np.concatenate(turned, axis=1), taste.tags @ turns[1])

    def assign(self, task: str, model: tfrs.Model, variables: list[tf.Variable]) -> str:
        """Sets the variables of a task that has just been created.

        Args:
          task: `rating` or `retrieval`.
          model: The task's model.
          variables: Those that the task trains.

        Returns:
          Why nothing was set; "" if all was.
        """
        earlier = self._learnt.weights.get(task, [])
        rows = self._rows(model)
        if len(earlier) != len(variables):
            return f"{len(earlier)} earlier variables, {len(variables)} now"
        for variable, value in zip(variables, earlier, strict=True):
            shape = variable.shape[1:] if variable.ref() in rows else variable.shape
            known = value.shape[1:] if variable.ref() in rows else value.shape
            if tuple(shape) != tuple(known):
                return f"{variable.name} was {list(value.shape)}, is {list(variable.shape)}"
        for variable, value in zip(variables, earlier, strict=True):
            if variable.ref() not in rows:
                variable.assign(value)
                continue
            places = rows[variable.ref()]
            present = variable.numpy()
            if isinstance(model, RetrievalModel) and variable is model.candidate_ids:
                present = _align(present, value, self._businesses)
            present[places >= 0] = value[places[places >= 0]]
            variable.assign(present)
        return ""

    def _rows(self, model: tfrs.Model) -> dict[Any, np.ndarray]:
        """Returns, by variable with a row an entity or token, the earlier rows."""
        rows = {}
        if isinstance(model, RetrievalModel):
            rows[model.candidate_ids.ref()] = self._clean_businesses
            rows[model.user_vectors.ref()] = self._clean_users[: model.user_vectors.shape[0]]
        for layer in model.submodules:
            if isinstance(layer, tf.keras.layers.Embedding) and layer.built:
                new = np.full(layer.input_dim, -1)
                rows[layer.embeddings.ref()] = self._tokens.get(layer.name, new)
        return rows


def _without(places: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    return np.where(np.isin(places, dropped), -1, places)


def _turn(present: np.ndarray, earlier: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the rotation that takes present coordinates closest to the earlier ones."""
    both = places >= 0
    if not both.any() or not present.shape[1] or present.shape[1] != earlier.shape[1]:
        return np.eye(present.shape[1], dtype=np.float32)
    turn, _ = scipy.linalg.orthogonal_procrustes(present[both], earlier[places[both]])
    return turn.astype(np.float32)


def _align(present: np.ndarray, earlier: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Turns `[num_rows, dim]` coordinates, `places` of whose rows are known earlier."""
    return present @ _turn(present, earlier, places)
