"""From a plan to its engine."""

from orchestrator.core.plan import EngineName, EnginePlan
from orchestrator.training.engine import Engine


def build_engine(plan: EnginePlan) -> Engine:
    """Return the plan's engine, with its data read.

    Raises:
        AssetError: the model or the data is missing.
        DataError: the data breaks a rule.
        UserError: the objective or the device is not there.
    """
    from orchestrator.objective.loading import load_objective

    objective = load_objective(plan.objective)
    if plan.engine is EngineName.PACKED:
        from orchestrator.training.packed.engine import PackedEngine

        return PackedEngine(plan, objective)
    from orchestrator.training.solo import SoloEngine

    return SoloEngine(plan, objective)
