"""The plan of a sweep of one short epoch over made-up rows, and the reports of its trials."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.engine import Engine
from tests.contracts.engine_contract import learned
from tests.training.packed.packs import MADE_UP


def tiny_plan(model: Path | Source, folder: Path | str, **values: Any) -> EnginePlan:
    """Return a plan with 40 training rows and one report, on a CPU in float32; ``values`` replace its fields."""
    plan = EnginePlan(
        objective="made up",
        model=model if isinstance(model, Source) else Source(origin=Origin.LOCAL, name=str(model)),
        data=DataPlan(source=MADE_UP, train=40, validation=20, test=12, train_eval=10),
        report_points=(40,),
        rows_per_epoch=40,
        sweep_dir=str(folder),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
    )
    return replace(plan, **values)


def reports(engine: Engine, trials: Sequence[TrialTask], points: Sequence[int] = (40,)) -> list[list[dict[str, float]]]:
    """Train the trials one after another and close the engine; return the metrics of each trial at the points."""
    found = []
    with closing(engine):
        for trial in trials:
            with closing(engine.start(trial)) as run:
                found.append([learned(run.advance(point)) for point in points])
    return found
