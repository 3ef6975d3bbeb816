"""What comes before the first trial: all that the recipes of both tasks have in common."""

import dataclasses
import logging

from models import replicas, tables
from models.bias import choose_shrinkages
from models.content import content_coordinates
from models.fit import Records, Shared
from models.looks import EvalSplit
from models.options import ModelOptions, TrainingOptions
from models.recipes import leave_out_flat
from models.ridge import Covariates, choose_penalty
from models.sizing import Sizes, settle_sizes
from models.tables import EntityTable, Interactions
from models.warm_start import Learnt, WarmStart

_LOG = logging.getLogger("t2rec")

_CONTENT_DIM = 64


@dataclasses.dataclass(frozen=True)
class Prepared:
    """What trials go on from.

    Attributes:
      shared: What all runs have in common, businesses with their content coordinates.
      options: Those of the model, sizes settled.
      look: The eval split.
      sizes: Sizes of the rating towers and their reasons; None if the options told them.
    """

    shared: Shared
    options: ModelOptions
    look: EvalSplit
    sizes: Sizes | None


def prepare(
    users: EntityTable,
    businesses: EntityTable,
    train_set: Interactions,
    eval_set: Interactions,
    model_options: ModelOptions,
    options: TrainingOptions,
    records: Records | None = None,
    base: Learnt | None = None,
) -> Prepared:
    """Settles what no trial is needed for: content, shrinkages, sizes, penalties.

    Args:
      users: All users.
      businesses: All businesses.
      train_set: Interactions to learn from.
      eval_set: Interactions to choose on.
      model_options: Sizes and weights of the model.
      options: Length and pace of training.
      records: Where runs are kept; nowhere by default.
      base: What an earlier model learnt, to start from if that can be.

    Raises:
      InputError: If a split is empty or a value is not finite.
    """
    tables.check(users, businesses, {"train": train_set, "eval": eval_set})
    options = options.for_ratings(len(train_set))
    content, tokens = replicas.agreed(content_coordinates(businesses, _CONTENT_DIM, options.seed))
    warm = None
    if base is not None:
        warm, model_options, options = _warm_start(
            WarmStart(base, users, businesses, train_set), model_options, options
        )
    if warm is not None:
        content, tokens = warm.align_content(content, tokens)
    businesses = dataclasses.replace(businesses, content=content, content_tokens=tokens)
    model_options = leave_out_flat(model_options, users, businesses)
    shrinkages = choose_shrinkages(train_set, eval_set, users.num_rows, businesses.num_rows)
    model_options, sizes = settle_sizes(
        model_options, users, businesses, train_set, shrinkages, options.seed
    )
    penalty = choose_penalty(
        train_set, eval_set, Covariates.of(users, businesses), shrinkages, options.seed
    )
    shrinkages, model_options, penalty = replicas.agreed((shrinkages, model_options, penalty))
    return Prepared(
        Shared(users, businesses, shrinkages, penalty, options, records or Records(), warm),
        model_options,
        EvalSplit(users.num_rows, train_set, eval_set, options.eval_users, options.seed),
        sizes,
    )


def _warm_start(
    warm: WarmStart, model_options: ModelOptions, options: TrainingOptions
) -> tuple[WarmStart | None, ModelOptions, TrainingOptions]:
    """Decides whether there is one, and settles with it what the options leave open."""
    filled, filled_training = warm.fill(model_options, options)
    obstacle = warm.obstacle(filled)
    if obstacle:
        _LOG.warning("a cold start, not from the latest blessed model: %s", obstacle)
        return None, model_options, options
    _LOG.info("trying a start from the latest blessed model, with its settings where they are open")
    return warm, filled, filled_training
