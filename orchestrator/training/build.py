"""From a plan to the engine that its method needs."""

from orchestrator.core.plan import EnginePlan
from orchestrator.training.engine import Engine


def build_engine(plan: EnginePlan) -> Engine:
    """Return an engine for the plan's method, with its data read.

    Raises:
        AssetError: the model or the data is missing.
        DataError: the data breaks a rule.
        UserError: the objective or the device is not there.
    """
    from orchestrator.objective.loading import load_objective
    from orchestrator.training.solo import SoloEngine

    return SoloEngine(plan, load_objective(plan.objective))
