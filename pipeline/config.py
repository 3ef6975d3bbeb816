"""The one configuration object of a run: frozen, validated, from YAML and `--set`."""

import pathlib
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic
import yaml

from models.baselines import registry
from models.errors import ConfigError
from models.gate import BEST, GateOptions
from models.options import (
    Count,
    ModelOptions,
    Natural,
    Options,
    Rate,
    Seed,
    Share,
    SplitOptions,
    TrainingOptions,
    Weight,
    one_of,
)
from pipeline.kubeflow_options import KubeflowOptions

_FAST = pathlib.Path(__file__).parent / "configs" / "fast.yaml"


RatingNames = tuple[Annotated[str, one_of(registry.RATING, "baseline")], ...]
RetrievalNames = tuple[Annotated[str, one_of(registry.RETRIEVAL, "baseline")], ...]


class Index(Options):
    """What the approximate index must reach.

    Attributes:
      target_recall: Recall@10 against exact search, on real queries.
      max_queries: Queries that the recall is measured on, at most.
    """

    target_recall: Share = 0.99
    max_queries: Count = 2_000


class Tuner(Options):
    """A search before training for what the options of model and training leave open.

    Attributes:
      trials: Whole runs of each task that KerasTuner makes; at 0 there is no Tuner, and training
        finds values itself, by shorter runs.
    """

    trials: Natural = 0


class Baselines(Options):
    """Which baselines are trained, and what one of them may take.

    Attributes:
      rating: Names out of `models.baselines.registry.RATING`.
      retrieval: Names out of `models.baselines.registry.RETRIEVAL`.
      tuning_seconds: How long one baseline may try values on eval; the first is always tried.
      max_seconds: A baseline that is expected to take longer, tuning aside, is skipped.
      max_memory_gb: A baseline that is expected to need more memory, in 10⁹ bytes, is skipped; so
        is one that needs more than is free.
    """

    rating: RatingNames = tuple(registry.RATING)
    retrieval: RetrievalNames = tuple(registry.RETRIEVAL)
    tuning_seconds: Weight = 20.0
    max_seconds: Rate = 1_800.0
    max_memory_gb: Rate = 8.0


class Evaluation(Options):
    """How much of the test split is looked at, and how.

    Attributes:
      native_rows: Test ratings that TFX's own Evaluator (TensorFlow Model Analysis) asks our export
        and the best baseline's about, at most; 0 leaves that out. A thousand take half a minute;
        all other metrics are of the whole split.
    """

    native_rows: Natural = 1_000


class BatchScoring(Options):
    """Recommendations that are made with the model once it is pushed, as `t2rec score` does.

    Attributes:
      enabled: Whether they are made.
      users: To whom: "all" of the model's users, or a path or pattern of files of ids.
      k: How many each gets, at most.
      exclude_seen: Whether what a user rated in training is left out.
      approximate: Whether they are found by the index instead of exact search.
    """

    enabled: bool = False
    users: str = "all"
    k: Annotated[int, pydantic.Field(ge=1, le=10_000)] = 50
    exclude_seen: bool = True
    approximate: bool = False


class Statistics(Options):
    """How much of a table its statistics are computed from.

    Attributes:
      max_rows: Rows of a split at most: of a larger one, every n-th row is taken. A proportion
        among m sampled rows is known within ±1/√m (95 %).
    """

    max_rows: Count = 100_000


class ReviewTerms(Options):
    """What the model learns of the texts of reviews.

    Attributes:
      per_business: The most words of its training reviews that a business gets; at 0 nobody reads
        the texts.
    """

    per_business: Annotated[int, pydantic.Field(ge=0, strict=True)] = 0


class Synthetic(Options):
    """The generated data of a run without `--data`.

    Attributes:
      reviews: Number of reviews.
      seed: Seed of the generator.
    """

    reviews: Annotated[int, pydantic.Field(ge=100)] = 60_000
    seed: Seed = 0


class PipelineConfig(ModelOptions):
    """Everything that a run can be told; the options of the model stand beside the groups.

    Attributes:
      split: How interactions are divided.
      refit: Whether the model that is evaluated and pushed learns from train and eval, once every
        choice is made on eval.
      training: Length and pace of training.
      tuner: A search before training.
      baselines: What the model is compared with.
      gate: What blesses a model.
      evaluation: How much of the test split is looked at.
      index: What the approximate index must reach.
      batch_scoring: Recommendations that are made with the model once it is pushed.
      repeated_visits: Whether of a user's reviews of one business the latest is kept or all are.
      max_reject_fraction: The largest fraction of a table's lines that may be unusable.
      review_terms: What the model learns of the texts of reviews.
      statistics: How much of a table its statistics are computed from.
      synthetic: The generated data of a run without data.
      kubeflow: How the pipeline runs on Kubeflow.
    """

    split: SplitOptions = SplitOptions()
    refit: bool = True
    training: TrainingOptions = TrainingOptions()
    tuner: Tuner = Tuner()
    baselines: Baselines = Baselines()
    gate: GateOptions = GateOptions()
    evaluation: Evaluation = Evaluation()
    index: Index = Index()
    batch_scoring: BatchScoring = BatchScoring()
    repeated_visits: Literal["latest", "all"] = "latest"
    max_reject_fraction: Annotated[float, pydantic.Field(ge=0.0, le=1.0)] = 0.01
    review_terms: ReviewTerms = ReviewTerms()
    statistics: Statistics = Statistics()
    synthetic: Synthetic = Synthetic()
    kubeflow: KubeflowOptions = KubeflowOptions()

    @pydantic.model_validator(mode="after")
    def _gate_has_baselines(self) -> "PipelineConfig":
        gate, objective, baselines = self.gate, self.objective, self.baselines
        wanted = {
            "rating": [gate.rating_baseline, *([gate.slice_baseline] if gate.slices else [])],
            "retrieval": [gate.retrieval_baseline],
        }
        for task, names in wanted.items():
            trained = getattr(baselines, task)
            for name in names if getattr(objective, task) else ():
                if name not in trained and not (name == BEST and trained):
                    raise ValueError(
                        f"the gate compares with {name!r}, but only {', '.join(trained) or 'none'} "
                        "is trained; name it under baselines"
                    )
        return self

    @property
    def wanted_baselines(self) -> Baselines:
        """The baselines of those tasks that are on."""
        off = {"rating": not self.objective.rating, "retrieval": not self.objective.retrieval}
        return self.baselines.model_copy(update={task: () for task in off if off[task]})

    @property
    def model_options(self) -> ModelOptions:
        """The options of the model alone."""
        return ModelOptions(**{key: getattr(self, key) for key in ModelOptions.model_fields})


def load_config(
    path: str | None = None, settings: Sequence[str] = (), fast: bool = False
) -> PipelineConfig:
    """Reads a configuration: defaults, then a YAML file, then single settings.

    Args:
      path: YAML file, or None.
      settings: `key=value` strings, the key dotted, the value YAML: `split.method=random`.
      fast: Whether the defaults are those of `configs/fast.yaml`: a look within minutes.

    Raises:
      ConfigError: If the file or a setting can't be read, a key is unknown or a value is invalid.
    """
    tree: dict[str, Any] = _read_yaml(str(_FAST)) if fast else {}
    if path:
        tree = _merge(tree, _read_yaml(path))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"Expected --set key=value, such as split.method=random; got {setting!r}."
            )
        *parents, leaf = key.strip().split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"Expected {parent!r} to be a group in --set {setting!r}.")
        try:
            node[leaf] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(
                f"Expected a YAML value in --set {setting!r}; got {text!r}. Quote it."
            ) from error
    try:
        return PipelineConfig.model_validate(tree)
    except pydantic.ValidationError as error:
        raise ConfigError(_in_words(error, path)) from error


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Lays one tree of settings over another."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"Expected a readable YAML file as --config; got {path!r} ({error}). Check the path."
        ) from error
    except yaml.YAMLError as error:
        where = str(error).replace("\n", " ")
        raise ConfigError(f"Expected YAML in {path!r}; it does not parse: {where}.") from error
    if not isinstance(tree, dict | None):
        raise ConfigError(
            f"Expected groups of settings in {path!r}; got a {type(tree).__name__}. See "
            "pipeline/configs/default.yaml."
        )
    return tree or {}


# What pydantic calls the kinds of a value that may be a number, a switch or auto.
_KINDS = ("constrained-", "bool", "int", "float", "tuple[")


def _in_words(error: pydantic.ValidationError, path: str | None) -> str:
    """Says what is wrong with a configuration in one line, the known keys where one is unknown."""
    faults = []
    for fault in error.errors():
        place = fault["loc"]
        if fault["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(place[:-1]))
            key = ".".join(str(part) for part in place)
            faults.append(f"unknown key {key!r} (expected one of {known})")
            continue
        message = fault["msg"]
        if place and str(place[-1]).startswith("literal[") and len(error.errors()) > 1:
            continue  # Its twin says what a number must be.
        if kinds := [part for part in place if str(part).startswith(_KINDS)]:
            place = tuple(part for part in place if part not in kinds)
            message = f"{message}, or 'auto'"
        key = ".".join(str(part) for part in place)
        got = f"; got {fault['input']!r}" if key else ""
        faults.append(f"{key + ': ' if key else ''}{message}{got}")
    source = f" in {path}" if path else ""
    return f"The configuration{source} is not valid: {'; '.join(faults)}. Correct it and run again."


def _known_keys(parents: Sequence[int | str]) -> list[str]:
    group: Any = PipelineConfig
    for parent in parents:
        is_table = typing.get_origin(group) is dict
        group = (
            typing.get_args(group)[1] if is_table else group.model_fields[str(parent)].annotation
        )
    return list(group.model_fields)
