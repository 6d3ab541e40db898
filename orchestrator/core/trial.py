"""Trials as everyone sees them: tasks, reports, decisions, endings and the record that gathers them."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.core.metric import Metric
from orchestrator.core.settings import TrialSettings
from orchestrator.core.space import ParamValue


class TrialState(enum.StrEnum):
    """State of a trial; the last three are endings, with Optuna's meaning."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "fail"


class Action(enum.StrEnum):
    """What a trial does after a report."""

    CONTINUE = "continue"
    WAIT = "wait"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a trial ended: one of the three final states, and why, in words for a person."""

    state: TrialState
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a trial reported at one nominal rung.

    Attributes:
        trial: the trial's number in the sweep, from 0.
        nominal_samples: training samples at which all trials report, whatever their batch size.
        metrics: finite or not, by name (``val/loss``, ``train/loss`` ...; see ``docs/concepts/metrics.md``).
        checkpoint: the checkpoint's folder, relative to the sweep's folder; None if there is none.
        started_at: when the work for this report began, in seconds since the epoch.
        ended_at: when it ended.
    """

    trial: int
    nominal_samples: int
    metrics: Mapping[str, float]
    checkpoint: str | None
    started_at: float
    ended_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The decision on one report; ``ending`` is set if and only if the action is STOP."""

    trial: int
    nominal_samples: int
    action: Action
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """What an engine needs to train one trial."""

    number: int
    settings: TrialSettings
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """Everything the ledger holds on one trial.

    Attributes:
        params: the values that were proposed for the active parameters of the space, fixed ones included.
        settings: the settings that the trial trains with: the file's fixed ones with ``params`` laid over them.
        state: RUNNING until the trial has ended.
        reports: in the order of their nominal samples, each rung once.
        decisions: decisions that were committed, by nominal samples; WAIT is never committed.
        final: metrics measured for the best checkpoint when the trial had ended (``shift/...``); empty before. Of a
            kept adapter also ``test/...`` and, if the search measured in another number format, once more what it
            reported.
        run_id: the tracking server's id of this trial's run.
    """

    number: int
    params: Mapping[str, ParamValue]
    settings: TrialSettings
    seed: int
    state: TrialState
    reason: str | None = None
    reports: tuple[Report, ...] = ()
    decisions: Mapping[int, Decision] = field(default_factory=dict)
    final: Mapping[str, float] = field(default_factory=dict)
    run_id: str | None = None
    started_at: float = 0.0
    ended_at: float | None = None

    @property
    def task(self) -> TrialTask:
        """What an engine needs to train this trial."""
        return TrialTask(number=self.number, settings=self.settings, seed=self.seed)

    @property
    def ended(self) -> bool:
        """Whether the trial has reached one of the final states."""
        return self.state is not TrialState.RUNNING

    @property
    def samples(self) -> int:
        """Nominal training samples at the newest report; 0 before the first."""
        return self.reports[-1].nominal_samples if self.reports else 0

    @property
    def undecided(self) -> bool:
        """Whether the newest report has no decision yet."""
        return not self.ended and bool(self.reports) and self.reports[-1].nominal_samples not in self.decisions

    def best(self, metric: Metric, *, until: int | None = None) -> Report | None:
        """Return the report with the best value of ``metric``, the earliest of equals; None if no value is a number.

        Args:
            metric: the metric and its direction.
            until: look only at reports up to and including this number of nominal samples.
        """
        found: Report | None = None
        for report in self.reports:
            if until is not None and report.nominal_samples > until:
                break
            value = report.metrics.get(metric.name, float("nan"))
            incumbent = float("nan") if found is None else found.metrics[metric.name]
            if metric.better(value, incumbent):
                found = report
        return found

    def score(self, metric: Metric, *, until: int | None = None) -> float | None:
        """Return the best value of ``metric`` that the search saw, or None."""
        report = self.best(metric, until=until)
        return None if report is None else report.metrics[metric.name]

    def at_best(self, metric: Metric) -> Mapping[str, float]:
        """Return what is known of the best checkpoint, by name; what was measured again stands for what was reported.

        The search goes by ``score``, so that nothing that is measured later changes it; people are shown this.
        """
        best = self.best(metric)
        return {} if best is None else {**best.metrics, **self.final}

    def result(self, metric: Metric) -> float | None:
        """Return the value of ``metric`` at the best checkpoint, the newest that was measured, or None."""
        return self.at_best(metric).get(metric.name)

    @property
    def measured_last(self) -> Mapping[str, float]:
        """Those of ``final`` that no report holds: ``shift/...`` and ``test/...``."""
        reported = self.reports[-1].metrics if self.reports else {}
        return {name: value for name, value in self.final.items() if name not in reported}
