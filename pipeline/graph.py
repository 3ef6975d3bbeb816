"""Wires the components into the pipeline; nothing is computed here."""

import dataclasses

from tfx import types
from tfx.components import Evaluator as NativeEvaluator
from tfx.components import ExampleValidator, Transform
from tfx.dsl.components.base import base_node
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration import data_types
from tfx.proto import transform_pb2
from tfx.types import standard_artifacts

from components.anomaly_gate.component import AnomalyGate
from components.baseline_trainer.component import BaselineTrainer
from components.batch_scorer.component import BatchScorer
from components.candidate_indexer.component import CandidateIndexer
from components.evaluator import native as native_evaluation
from components.evaluator.component import Evaluator
from components.import_schema_gen.component import ImportSchemaGen
from components.pusher.component import Pusher
from components.report.component import Report
from components.reporter.component import Reporter
from components.serving_validator.component import ServingValidator
from components.statistics_gen.component import StatisticsGen
from components.trainer.component import Trainer
from components.tuner.component import Tuner
from components.yelp_example_gen.component import YelpExampleGen
from models import features, preprocessing
from pipeline.beam_options import NOT_PACKED
from pipeline.code_digest import code_digest
from pipeline.config import PipelineConfig
from schemas.loader import TABLES

# TFMA draws by chance which of its samples a rating is in. Spark computes that anew for each of
# them, and counted 402 of 399; Flink took 70 s for a thousand ratings that take 12 here.
_IN_THIS_PROCESS = ("--runner=DirectRunner", NOT_PACKED)
_PREPROCESSING = {
    "users": "models.preprocessing.preprocess_users",
    "businesses": "models.preprocessing.preprocess_businesses",
}


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run is pointed at; a Kubeflow run gets these as parameters.

    Attributes:
      data: Where the Yelp files are: one path, or a JSON list of several.
      serving_dir: Folder that blessed exports are pushed to.
      checkpoint_dir: Folder where a killed training is found again; "" for none.
      input_fingerprint: Names, sizes and times of the files, for the cache; "" if unknown.
      users_fingerprint: The same of the users that are to be scored.
      noise_floor_rmse: RMSE of the truth that generated data comes with, in stars; 0 if unknown.
    """

    data: str | data_types.RuntimeParameter
    serving_dir: str | data_types.RuntimeParameter
    checkpoint_dir: str | data_types.RuntimeParameter = ""
    input_fingerprint: str | data_types.RuntimeParameter = ""
    users_fingerprint: str = ""
    noise_floor_rmse: float = 0.0


def build_components(config: PipelineConfig, inputs: Inputs) -> list[base_node.BaseNode]:
    """Builds all nodes of the pipeline.

    Args:
      config: What the run was told.
      inputs: What it is pointed at.

    Returns:
      The nodes, each after those that it depends on.
    """
    example_gen = YelpExampleGen(
        data=inputs.data,
        split_config=config.split.model_dump_json(),
        repeated_visits=config.repeated_visits,
        max_reject_fraction=config.max_reject_fraction,
        num_review_terms=config.review_terms.per_business,
        input_fingerprint=inputs.input_fingerprint,
        code_digest=code_digest("components.yelp_example_gen"),
    )
    tables = {table: example_gen.outputs[table] for table in TABLES}
    schemas, checks, statistics = {}, {}, {}
    nodes: list[base_node.BaseNode] = [example_gen]
    for table, examples in tables.items():
        schemas[table] = ImportSchemaGen(
            table, code_digest("components.import_schema_gen")
        ).with_id(f"ImportSchemaGen.{table}")
        described = StatisticsGen(
            examples=examples,
            schema=schemas[table].outputs["schema"],
            max_rows=config.statistics.max_rows,
            code_digest=code_digest("components.statistics_gen"),
        ).with_id(f"StatisticsGen.{table}")
        checks[table] = ExampleValidator(
            statistics=described.outputs["statistics"], schema=schemas[table].outputs["schema"]
        ).with_id(f"ExampleValidator.{table}")
        statistics[table] = described.outputs["statistics"]
        nodes += [schemas[table], described, checks[table]]
    gate = AnomalyGate(
        **{table: check.outputs["anomalies"] for table, check in checks.items()},
        code_digest=code_digest("components.anomaly_gate"),
    )
    nodes.append(gate)

    transforms = {}
    for table in _PREPROCESSING:
        transforms[table] = _transform(table, tables[table], schemas[table], config)
        transforms[table].add_upstream_node(gate)
    nodes += transforms.values()

    star = {key: tables[key] for key in ("interactions", "users", "businesses")}
    transformed = {
        "users": transforms["users"].outputs["transformed_examples"],
        "businesses": transforms["businesses"].outputs["transformed_examples"],
        "user_graph": transforms["users"].outputs["transform_graph"],
        "business_graph": transforms["businesses"].outputs["transform_graph"],
    }
    base_model = None
    if config.training.warm_start:
        latest = Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=types.Channel(type=standard_artifacts.Model),
            model_blessing=types.Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("LatestBlessedModel")
        nodes.append(latest)
        base_model = latest.outputs["model"]
    options = {
        "model_options": config.model_options.model_dump_json(),
        "training_options": config.training.model_dump_json(),
    }
    hyperparameters = None
    if config.tuner.trials:
        tuner = Tuner(
            interactions=tables["interactions"],
            **transformed,
            **options,
            num_trials=config.tuner.trials,
            code_digest=code_digest("components.tuner", "components.entity_tables"),
        )
        nodes.append(tuner)
        hyperparameters = tuner.outputs["best_hyperparameters"]
    trainer = Trainer(
        interactions=tables["interactions"],
        **transformed,
        raw_businesses=tables["businesses"],
        **options,
        refit=config.refit,
        base_model=base_model,
        hyperparameters=hyperparameters,
        checkpoint_dir=inputs.checkpoint_dir,
        code_digest=code_digest("components.trainer", "components.entity_tables"),
    )
    baseline_trainer = BaselineTrainer(
        interactions=tables["interactions"],
        **transformed,
        options=config.wanted_baselines.model_dump_json(),
        seed=config.training.seed,
        refit=config.refit,
        code_digest=code_digest("components.baseline_trainer", "components.entity_tables"),
    )
    indexer = CandidateIndexer(
        model=trainer.outputs["model"],
        interactions=tables["interactions"],
        max_queries=config.index.max_queries,
        target_recall=config.index.target_recall,
        code_digest=code_digest(
            "components.candidate_indexer", "components.export_lists", "serving"
        ),
    )
    evaluator = Evaluator(
        model=trainer.outputs["model"],
        scann_model=indexer.outputs["scann_model"],
        baselines=baseline_trainer.outputs["baselines"],
        index_evaluation=indexer.outputs["index_evaluation"],
        **star,
        gate=config.gate.model_dump_json(),
        objective=config.objective.model_dump_json(),
        target_recall=config.index.target_recall,
        refit=config.refit,
        serving_dir=inputs.serving_dir,
        max_native_rows=config.evaluation.native_rows,
        noise_floor_rmse=inputs.noise_floor_rmse,
        code_digest=code_digest(
            "components.evaluator",
            "components.export_lists",
            "components.pusher.versions",
            "serving",
        ),
    )
    validator = ServingValidator(
        model=trainer.outputs["model"],
        scann_model=indexer.outputs["scann_model"],
        code_digest=code_digest(
            "components.serving_validator", "components.pusher.versions", "serving"
        ),
    )
    native = None
    if config.evaluation.native_rows and config.objective.rating:
        native = (
            NativeEvaluator(
                examples=evaluator.outputs["rating_examples"],
                model=trainer.outputs["model"],
                baseline_model=baseline_trainer.outputs["fallback"],
                example_splits=[features.TEST],
                eval_config=native_evaluation.eval_config(),
            )
            .with_id("Evaluator.native")
            .with_beam_pipeline_args(_IN_THIS_PROCESS)
        )
    # Where it runs changes nothing of what is reported.
    told = config.model_dump_json(exclude={"kubeflow"})
    pusher = Pusher(
        model=trainer.outputs["model"],
        scann_model=indexer.outputs["scann_model"],
        blessing=evaluator.outputs["blessing"],
        infra_blessing=validator.outputs["blessing"],
        rejects=example_gen.outputs["rejects"],
        evaluation=evaluator.outputs["evaluation"],
        index_evaluation=indexer.outputs["index_evaluation"],
        serving_dir=inputs.serving_dir,
        config=told,
        noise_floor_rmse=inputs.noise_floor_rmse,
        code_digest=code_digest("components.pusher", "components.run_metrics"),
    )
    reporter = Reporter(
        rejects=example_gen.outputs["rejects"],
        evaluation=evaluator.outputs["evaluation"],
        index_evaluation=indexer.outputs["index_evaluation"],
        model_run=trainer.outputs["model_run"],
        infra_blessing=validator.outputs["blessing"],
        pushed_model=pusher.outputs["pushed_model"],
        config=told,
        native_evaluation=native.outputs["evaluation"] if native else None,
        code_digest=code_digest(
            "components.reporter", "components.run_metrics", "components.evaluator.native"
        ),
    )
    report = Report(
        metrics=reporter.outputs["report"],
        model=trainer.outputs["model"],
        **star,
        statistics=statistics,
        refit=config.refit,
        code_digest=code_digest(
            "components.report", "components.evaluator", "components.pusher.versions"
        ),
    )
    scoring = config.batch_scoring
    scorer = BatchScorer(
        pushed_model=pusher.outputs["pushed_model"],
        **scoring.model_dump(exclude={"enabled"}),
        users_fingerprint=inputs.users_fingerprint,
        code_digest=code_digest("components.batch_scorer", "components.pusher.versions", "serving"),
    )
    nodes += [trainer, baseline_trainer, indexer, evaluator, validator]
    nodes += [*([native] if native else []), pusher, reporter, report]
    return [*nodes, *([scorer] if scoring.enabled else [])]


def _transform(
    table: str,
    examples: types.Channel,
    schema: base_node.BaseNode,
    config: PipelineConfig,
) -> Transform:
    return Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn=_PREPROCESSING[table],
        splits_config=transform_pb2.SplitsConfig(analyze=[features.ALL], transform=[features.ALL]),
        # The raw tables have their statistics already; those of the transformed ones cost as much.
        disable_statistics=True,
        # It is for runs that analyse old and new spans together.
        disable_analyzer_cache=True,
        custom_config={
            preprocessing.WITH_REVIEW_TERMS: config.review_terms.per_business > 0,
            # Not read by the hook: it puts the code into the cache key, which sees only its name.
            "code_digest": code_digest(),
        },
    ).with_id(f"Transform.{table}")
