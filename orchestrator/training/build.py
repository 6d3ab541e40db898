"""Build the engine of a plan."""

import importlib

from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.objective.protocol import Splits
from orchestrator.training.engine import Engine
from orchestrator.training.solo.workers import Launch


def build_engine(plan: EnginePlan, splits: Splits | None = None, *, launch: Launch | None = None) -> Engine:
    """Return the plan's engine.

    Args:
        plan: the engine's plan.
        splits: the rows; None: the plan's objective reads them.
        launch: starts the workers of a trial with several processes.

    Raises:
        AssetError: the model or the data is missing.
        DataError: the data breaks a rule.
        UserError: the objective or the device does not exist.
    """
    if plan.engine is EngineName.FUNCTION:
        from orchestrator.training.function.engine import FunctionEngine

        return FunctionEngine(plan)
    importlib.import_module("peft")  # slow; every trial and every measurement needs it

    from orchestrator.objective.loading import load_objective
    from orchestrator.training.context import EngineContext
    from orchestrator.training.process.memory import freeze_gc

    objective = load_objective(plan.objective, plan.data.classes, plan.data.chat_template, plan.data.prompt)
    context = EngineContext(plan, objective, splits)
    if plan.engine is EngineName.PACKED:
        from orchestrator.training.mixed import MixedEngine

        engine: Engine = MixedEngine(context)
    else:
        from orchestrator.training.solo.engine import SoloEngine

        engine = SoloEngine(context, launch)
    freeze_gc()
    return engine
