"""Time a few optimizer steps of a prepared sweep on this machine, to estimate the duration of its search."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.rows.selection import first_rows
from orchestrator.training.engine import Engine, PackingEngine, TrialRun, step_runs

if TYPE_CHECKING:
    from orchestrator.preparation.prepared import PreparedSweep

STEPS = 3
"""Timed optimizer steps, after one untimed step."""
_MEASURED_ROWS = 32
"""Validation rows, and training rows, measured after the timed steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The speed of trials on this machine.

    Attributes:
        together: number of trials trained at once.
        train_s: seconds for a training row of one trial: its part of the time of all.
        measure_s: the same for a row measured at a report.
    """

    together: int
    train_s: float
    measure_s: float

    def search_s(self, prepared: "PreparedSweep", trials: int) -> float:
        """Return the seconds of a search whose trials run ``together`` at once, each to its end.

        Generated answers, confirmation and the measurement of the kept adapters come on top.

        Args:
            prepared: the sweep.
            trials: number of trials.
        """
        plan, splits = prepared.engine_plan, prepared.splits
        assert splits is not None, "a function is not timed"
        measured = len(splits.validation) + min(plan.data.train_eval, len(splits.train))
        points = plan.report_points
        return trials * (points[-1] * self.train_s + len(points) * measured * self.measure_s)


def time_steps(prepared: "PreparedSweep") -> Timing | None:
    """Train the smallest trials of a sweep for four optimizer steps in a temporary folder; return their speed.

    As many train at once as in the sweep. They train twice, and the second time counts: the first batch of each length
    takes several times as long, because libraries prepare their kernels for it. None for a function, and for trials
    with several workers or DeepSpeed, which need processes of their own.

    Raises:
        LoratoryError: the base model cannot be loaded or trained.
        RuntimeError, MemoryError: memory does not suffice.
    """
    from orchestrator.training.build import build_engine

    plan, splits = prepared.engine_plan, prepared.splits
    if splits is None or plan.workers > 1 or plan.deepspeed is not None:
        return None
    settings = TrialSettings.from_params(plan.smallest)
    step = settings.rows_per_update
    few = replace(
        splits,
        train=first_rows(splits.train, max(_MEASURED_ROWS, step * (1 + STEPS))),
        validation=first_rows(splits.validation, _MEASURED_ROWS),
        test=first_rows(splits.test, 1),
        shift={},
    )
    with tempfile.TemporaryDirectory() as folder:
        short = replace(
            plan,
            data=replace(plan.data, train_eval=_MEASURED_ROWS, shift={}),
            report_points=(step, step * (1 + STEPS)),
            rows_per_epoch=None,
            sweep_dir=folder,
            early=(),
            forgetting=False,
            record=False,
            generation=None,
            row_digests={},
        )
        with closing(build_engine(short, few)) as engine:
            resources, together = prepared.resources, 1
            if isinstance(engine, PackingEngine):
                together = engine.capacity(resources.parallel_trials, measure=resources.measured).slots
            for first in (0, together):
                tasks = [TrialTask(number=first + each, settings=settings, seed=each) for each in range(together)]
                parts = _metrics(engine, tasks, short.report_points)
    measured = len(few.validation) + min(_MEASURED_ROWS, len(few.train))
    return Timing(
        together=together,
        train_s=median(part["time/train_s"] for part in parts) / (step * STEPS),
        measure_s=median(part["time/eval_s"] for part in parts) / measured,
    )


def _metrics(engine: Engine, tasks: Sequence[TrialTask], points: Sequence[int]) -> list[Mapping[str, float]]:
    """Train trials to the last report point, together if the engine packs; return the metrics of each there."""
    runs = [engine.start(task) for task in tasks]
    metrics: dict[TrialRun, Mapping[str, float]] = {}
    for point in points:
        waiting = dict.fromkeys(runs, point)
        while waiting:
            for run, result in step_runs(engine, waiting).items():
                if isinstance(result, Exception):
                    raise result
                metrics[run] = result.metrics
                del waiting[run]
    for run in runs:
        run.close()
    return [*metrics.values()]
