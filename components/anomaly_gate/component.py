"""Declares AnomalyGate to TFX."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.anomaly_gate import executor
from schemas.loader import TABLES


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Declares the parameters and inputs of AnomalyGate."""

    PARAMETERS = {"code_digest": component_spec.ExecutionParameter(type=str, optional=True)}
    INPUTS = {
        table: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies)
        for table in TABLES
    }
    OUTPUTS: dict[str, component_spec.ChannelParameter] = {}


class AnomalyGate(base_component.BaseComponent):
    """Fails if any table has an anomaly; what must not run then names it as upstream node.

    TFX's ExampleValidator only writes down what it finds.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        interactions: types.Channel,
        users: types.Channel,
        businesses: types.Channel,
        code_digest: str = "",
    ):
        """Declares the component.

        Args:
          interactions: Anomalies of the interactions.
          users: Anomalies of the users.
          businesses: Anomalies of the businesses.
          code_digest: A digest of the code; part of the cache key.
        """
        super().__init__(
            AnomalyGateSpec(
                interactions=interactions,
                users=users,
                businesses=businesses,
                code_digest=code_digest,
            )
        )
