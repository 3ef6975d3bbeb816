"""Declares YelpExampleGen to TFX."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration import data_types
from tfx.types import standard_artifacts

from components import artifacts
from components.yelp_example_gen import executor, spec


class YelpExampleGen(base_beam_component.BaseBeamComponent):
    """Reads the Yelp Open Dataset into Examples.

    Outputs:
      interactions: Examples with the splits train, eval and test.
      users: Examples with the split all; a user known only from reviews has an id and no more.
      businesses: Examples with the split all, likewise.
      rejects: `Rejects`: the lines that could not be used, and `summary.json`.
    """

    SPEC_CLASS = spec.YelpExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        data: str | data_types.RuntimeParameter,
        split_config: str | data_types.RuntimeParameter = "{}",
        repeated_visits: str | data_types.RuntimeParameter = "latest",
        max_reject_fraction: float | data_types.RuntimeParameter = 0.01,
        input_fingerprint: str | data_types.RuntimeParameter = "",
        code_digest: str | data_types.RuntimeParameter = "",
        num_review_terms: int | data_types.RuntimeParameter = 0,
    ):
        """Declares the component; nothing is read yet.

        Args:
          data: Where Yelp's files are, on any Beam filesystem: a directory, a file, a tar, or a
            pattern, possibly with `{SPAN}`; or a JSON list of such, the newest data last.
          split_config: `models.options.SplitOptions` as JSON.
          repeated_visits: `latest` or `all`: which of a user's reviews of one business are kept.
          max_reject_fraction: The largest fraction of a table's lines that may be unusable.
          input_fingerprint: What `inputs.fingerprint` says of the inputs; part of the cache key.
          code_digest: A digest of the code; part of the cache key.
          num_review_terms: The most words of its training reviews that a business gets; 0 for none.
        """
        super().__init__(
            spec=spec.YelpExampleGenSpec(**{
                spec.DATA_KEY: data,
                spec.SPLIT_CONFIG_KEY: split_config,
                spec.REPEATED_VISITS_KEY: repeated_visits,
                spec.MAX_REJECT_FRACTION_KEY: max_reject_fraction,
                spec.NUM_REVIEW_TERMS_KEY: num_review_terms,
                spec.INPUT_FINGERPRINT_KEY: input_fingerprint,
                spec.CODE_DIGEST_KEY: code_digest,
                spec.INTERACTIONS_KEY: types.Channel(type=standard_artifacts.Examples),
                spec.USERS_KEY: types.Channel(type=standard_artifacts.Examples),
                spec.BUSINESSES_KEY: types.Channel(type=standard_artifacts.Examples),
                spec.REJECTS_KEY: types.Channel(type=artifacts.Rejects),
            })
        )
