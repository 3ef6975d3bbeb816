"""What YelpExampleGen takes and gives."""

from tfx.types import component_spec, standard_artifacts

from components import artifacts

DATA_KEY = "data"
SPLIT_CONFIG_KEY = "split_config"
REPEATED_VISITS_KEY = "repeated_visits"
MAX_REJECT_FRACTION_KEY = "max_reject_fraction"
NUM_REVIEW_TERMS_KEY = "num_review_terms"
INPUT_FINGERPRINT_KEY = "input_fingerprint"
CODE_DIGEST_KEY = "code_digest"

INTERACTIONS_KEY = "interactions"
USERS_KEY = "users"
BUSINESSES_KEY = "businesses"
REJECTS_KEY = "rejects"


class YelpExampleGenSpec(component_spec.ComponentSpec):
    """Declares the parameters and outputs of YelpExampleGen."""

    PARAMETERS = {
        DATA_KEY: component_spec.ExecutionParameter(type=str),
        SPLIT_CONFIG_KEY: component_spec.ExecutionParameter(type=str),
        REPEATED_VISITS_KEY: component_spec.ExecutionParameter(type=str),
        MAX_REJECT_FRACTION_KEY: component_spec.ExecutionParameter(type=float),
        NUM_REVIEW_TERMS_KEY: component_spec.ExecutionParameter(type=int),
        INPUT_FINGERPRINT_KEY: component_spec.ExecutionParameter(type=str, optional=True),
        CODE_DIGEST_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {
        INTERACTIONS_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        USERS_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        BUSINESSES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples),
        REJECTS_KEY: component_spec.ChannelParameter(type=artifacts.Rejects),
    }
