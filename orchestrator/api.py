"""Sweeps from Python, for notebooks and scripts. They are prepared and run as on the command line:

```python
from orchestrator import load_sweep, open_sweep, run_sweep

sweep = run_sweep(load_sweep("sweeps/sentiment.yaml", overrides=["budget.trials=8"]))
sweep.best.params
sweep.to_frame()
open_sweep("sentiment#1").leaderboard
```
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import stores
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.system.environment import set_environment_defaults
from orchestrator.core.trials.ranking import ranked_by_result
from orchestrator.core.trials.trial import TrialRecord, TrialState

if TYPE_CHECKING:
    import pandas as pd

    from orchestrator.spec.sweep_spec import SweepSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One trial, measured at its best checkpoint. None where nothing was measured.

    Attributes:
        number: number of the trial in the sweep, from 0.
        place: on the leaderboard, from 1.
        state: ``running``, ``complete``, ``pruned`` or ``fail``.
        reason: why the trial ended.
        params: the proposed hyperparameter values.
        confirms: number of the trial whose configuration this one trains with a fresh seed; None: of the search.
        fold: number of the fold with its validation rows, from 1; None: the sweep's validation split.
        share: share of the training rows in (0, 1], for a point of the learning curve; None: it is no such point.
        score: the value of the searched metric used by the search.
        result: the newest measurement of the same checkpoint: of kept adapters in float32.
        gap: validation loss minus training loss, in nats.
        seconds: time of training and measuring, over all reports.
        samples: nominal training samples at the newest report.
        metrics: all metrics of the best checkpoint, by name.
    """

    number: int
    place: int | None
    state: TrialState
    reason: str | None
    params: Mapping[str, ParamValue]
    score: float | None
    result: float | None
    gap: float | None
    seconds: float
    samples: int
    metrics: Mapping[str, float]
    confirms: int | None = None
    fold: int | None = None
    share: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """The results of a sweep at one moment. ``open_sweep`` reads newer ones.

    Attributes:
        reference: ``name#generation``.
        status: ``running``, ``interrupted`` or ``finished``.
        reason: why the last run ended; None before.
        metric: the searched metric.
        trials: all trials, by number.
        baseline: metrics of the classical baseline on the same rows; None without one.
        elapsed_s: wall time of all runs, in seconds.
        report_path: the page of the report; the file exists after the first run.
    """

    reference: str
    status: SweepStatus
    reason: str | None
    metric: Metric
    trials: tuple[Trial, ...]
    baseline: Mapping[str, float] | None
    elapsed_s: float
    report_path: Path

    @property
    def leaderboard(self) -> tuple[Trial, ...]:
        """The trials with a result, the best first."""
        placed = [(trial.place, trial) for trial in self.trials if trial.place is not None]
        return tuple(trial for _, trial in sorted(placed, key=lambda pair: pair[0]))

    @property
    def best(self) -> Trial | None:
        """The first trial of the leaderboard; None if no trial has a result."""
        return next(iter(self.leaderboard), None)

    def to_frame(self) -> "pd.DataFrame":
        """Return one row per trial of the search, indexed by trial number, the best first.

        Columns: ``place``, ``state``, ``score``, ``result``, ``gap``, ``seconds``, then one per hyperparameter. Empty
        cells are NaN.
        """
        import pandas as pd

        unplaced = (trial for trial in self.trials if trial.place is None and trial.confirms is None)
        ordered = [*self.leaderboard, *unplaced]
        names = list(dict.fromkeys(name for trial in self.trials for name in trial.params))
        rows = [
            {
                "place": trial.place,
                "state": trial.state.value,
                "score": trial.score,
                "result": trial.result,
                "gap": trial.gap,
                "seconds": trial.seconds,
                **{name: trial.params.get(name) for name in names},
            }
            for trial in ordered
        ]
        columns = ["place", "state", "score", "result", "gap", "seconds", *names]
        frame = pd.DataFrame(rows, columns=columns, index=pd.Index([trial.number for trial in ordered], name="trial"))
        return frame.astype({"place": "Int64"})


def load_sweep(path: str | Path, overrides: Sequence[str] = ()) -> "SweepSpec":
    """Return the checked sweep of a sweep file.

    Args:
        path: the YAML file.
        overrides: texts ``a.b=value``, applied to the file in order.

    Raises:
        SpecError: the file is invalid; the message names every error with its line.
    """
    set_environment_defaults()
    return stores.read_spec(Path(path), overrides)


def run_sweep(
    sweep: "SweepSpec | str | Path",
    *,
    inline: bool = True,
    fresh: bool = False,
    observers: Sequence[SweepObserver] = (),
    stop: threading.Event | None = None,
    say: Callable[[str], None] = logger.info,
) -> Sweep:
    """Start or resume a sweep, run it to the end of its budget, and return its results.

    A finished sweep with the same settings is returned at once.

    Args:
        sweep: the sweep, or the path of its file.
        inline: train in this process; False: under Ray Tune.
        fresh: start a new generation beside the stored sweeps of its name.
        observers: receive every event after its commit.
        stop: suspends the sweep when set; the same call resumes it.
        say: receives the progress, one sentence per call.

    Raises:
        UserError: the file, the data, the objective or the model is invalid.
        SuspendedError: the disk is full, or the ledger or Ray is unavailable; the same call resumes the sweep.
        LoratoryError: most trials failed.
    """
    set_environment_defaults()
    from orchestrator import sweep as story

    spec = load_sweep(sweep) if isinstance(sweep, str | Path) else sweep
    for warning in spec.warnings:
        say(f"warning: {warning}")
    stores.fetch_assets(spec, say)
    options = story.SweepOptions(inline=inline, fresh=fresh, began_at=time.time())
    result = story.run_sweep(spec, options, observers, stop or threading.Event(), say)
    return _sweep(result.sweep, result.records)


def open_sweep(reference: str) -> Sweep:
    """Return the stored results of a sweep, also while it runs.

    Args:
        reference: ``NAME`` for the newest generation of a name, or ``NAME#2``.

    Raises:
        UserError: no such sweep is stored.
    """
    set_environment_defaults()
    ledger, record = stores.find_sweep(reference)
    try:
        return _sweep(stores.with_current_status(ledger, record), ledger.trials.all(record.id))
    finally:
        ledger.close()


def _sweep(record: SweepRecord, trials: Sequence[TrialRecord]) -> Sweep:
    from orchestrator.report.files import report_page
    from orchestrator.report.leaderboard import metric_of

    metric = metric_of(record)
    places = {trial.number: place for place, trial in enumerate(ranked_by_result(trials, metric), start=1)}
    return Sweep(
        reference=record.reference,
        status=record.status,
        reason=record.facts.end_reason,
        metric=metric,
        trials=tuple(_trial(trial, metric, places.get(trial.number)) for trial in trials),
        baseline=record.facts.baseline,
        elapsed_s=record.elapsed_s,
        report_path=report_page(record),
    )


def _trial(record: TrialRecord, metric: Metric, place: int | None) -> Trial:
    metrics = record.at_best(metric)
    return Trial(
        number=record.number,
        place=place,
        state=record.state,
        reason=record.reason,
        params=record.params,
        score=record.score(metric),
        result=metrics.get(metric.name),
        gap=metrics.get("gap/loss"),
        seconds=sum(report.ended_at - report.started_at for report in record.reports),
        samples=record.samples,
        metrics=metrics,
        confirms=record.confirms,
        fold=record.fold,
        share=record.share,
    )
