"""Time a few optimizer steps of a prepared sweep on this machine, to estimate the duration of its search."""

import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.rows.selection import first_rows

if TYPE_CHECKING:
    from orchestrator.preparation.prepared import PreparedSweep

STEPS = 3
"""Timed optimizer steps, after one untimed step."""
_MEASURED_ROWS = 32
"""Validation rows, and training rows, measured after the timed steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The speed of one trial alone on this machine.

    Attributes:
        train_s: seconds for a training row.
        measure_s: seconds for a row measured at a report.
    """

    train_s: float
    measure_s: float

    def search_s(self, prepared: "PreparedSweep", trials: int) -> float:
        """Return the seconds of a search whose trials run one after another, each to its end.

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
    """Train the smallest trial of a sweep for four optimizer steps in a temporary folder; return its speed.

    None for a function, and for trials with several workers or DeepSpeed, which need processes of their own.

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
            run = engine.start(TrialTask(number=0, settings=settings, seed=0))
            with closing(run):
                run.advance(short.report_points[0])
                metrics = run.advance(short.report_points[1]).metrics
    measured = len(few.validation) + min(_MEASURED_ROWS, len(few.train))
    return Timing(train_s=metrics["time/train_s"] / (step * STEPS), measure_s=metrics["time/eval_s"] / measured)
