"""Trials: their tasks, reports, decisions and outcomes, and the record of all of them."""

import enum
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings

OVERFITTING = "overfitting: "
"""Prefix of the reason of a trial ended by the overfitting exit."""
LIMIT = "limit: "
"""Prefix of the reason of a trial ended by one of ``early_stopping.limits``."""
AT_END = ("shift/", "forgetting/")
"""Prefixes of the metrics of the best checkpoint measured when a trial ends; later measurements do not change them."""
OUT_OF_MEMORY = "out of memory: "
"""Prefix of the reason of a trial failed for lack of memory."""


class TrialState(enum.StrEnum):
    """State of a trial; the last three are final, with Optuna's meaning."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAIL = "fail"


class Action(enum.StrEnum):
    """The decision of a stopping rule on a report."""

    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a trial: one of the three final states, and the reason in words."""

    state: TrialState
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A trial's report at one report point.

    Attributes:
        trial: the trial's number in the sweep, from 0.
        nominal_samples: the report point in training samples, the same for all batch sizes.
        metrics: values by name, finite or not (``val/loss``, ``train/loss`` ...; see ``docs/concepts/metrics.md``).
        checkpoint: folder of the checkpoint, relative to the sweep's folder; None: no checkpoint.
        started_at, ended_at: begin and end of the work for this report, in seconds since the epoch.
    """

    trial: int
    nominal_samples: int
    metrics: Mapping[str, float]
    checkpoint: str | None
    started_at: float
    ended_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """The decision on one report; ``outcome`` is set if and only if the action is STOP."""

    trial: int
    nominal_samples: int
    action: Action
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """The input of an engine for one trial.

    Attributes:
        fold, share: see ``TrialRecord``.
    """

    number: int
    settings: TrialSettings
    seed: int
    fold: int | None = None
    share: float | None = None

    @property
    def rows_key(self) -> Hashable:
        """Equal for trials with the same encoded training and validation rows. A share is drawn by the trial's seed."""
        drawn = None if self.share is None else self.seed
        return self.settings.max_length, self.settings.train_fraction, self.fold, self.share, drawn


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """The ledger's record of one trial.

    Attributes:
        params: the proposed values of the active parameters of the space, constants included.
        settings: the trial's settings: the fixed ones of the sweep file, replaced by ``params``.
        state: RUNNING until the trial has ended.
        reports: in the order of their nominal samples, one per report point.
        decisions: committed decisions by nominal samples.
        final: metrics of the best checkpoint, measured after the end (``shift/...``). For a kept adapter also
            ``test/...``, and the reported metrics again in float32 if the search used another format.
        run_id: the tracking server's id of the trial's run.
        confirms: number of the trial which this one trains again with another seed; None: a trial of the search.
        fold: number of the fold with its validation rows, from 1 (``data.folds``); None: the sweep's validation split.
        share: share of the configuration's training rows in (0, 1], for a point of the learning curve; None: it is no
            such point.
        origin: for a clone, its model, who asked for it and why, in words; None: the sampler proposed the trial.
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
    confirms: int | None = None
    fold: int | None = None
    share: float | None = None
    origin: str | None = None
    started_at: float = 0.0
    ended_at: float | None = None

    @property
    def task(self) -> TrialTask:
        """The input of an engine for this trial."""
        return TrialTask(number=self.number, settings=self.settings, seed=self.seed, fold=self.fold, share=self.share)

    @property
    def ended(self) -> bool:
        """Whether the trial has ended."""
        return self.state is not TrialState.RUNNING

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the trial failed for lack of memory."""
        return self.state is TrialState.FAIL and (self.reason or "").startswith(OUT_OF_MEMORY)

    @property
    def samples(self) -> int:
        """Nominal training samples at the newest report; 0 before the first."""
        return self.reports[-1].nominal_samples if self.reports else 0

    @property
    def undecided(self) -> bool:
        """Whether the newest report has no decision yet."""
        return not self.ended and bool(self.reports) and self.reports[-1].nominal_samples not in self.decisions

    def training_rows(self, rows: int | None) -> int | None:
        """Return the number of training rows of this trial, a part of the sweep's ``rows``; None: unknown."""
        return None if rows is None else math.ceil(self.settings.train_fraction * (self.share or 1.0) * rows)

    def best(self, metric: Metric, *, until: int | None = None) -> Report | None:
        """Return the report with the best value of ``metric``, the first of equal ones; None if no value is a number.

        A goal's constraints come first: of the reports with a number, those that violate them least are compared.

        Args:
            metric: the metric and its direction.
            until: ignore reports after this number of nominal samples.
        """
        reports = [report for report in self.reports if until is None or report.nominal_samples <= until]
        numbers = [report for report in reports if not math.isnan(report.metrics.get(metric.name, math.nan))]
        least = min((metric.violation(report.metrics) for report in numbers), default=0.0)
        reports = [report for report in numbers if metric.violation(report.metrics) == least]
        place = metric.first_best([report.metrics[metric.name] for report in reports])
        return None if place is None else reports[place]

    def score(self, metric: Metric, *, until: int | None = None) -> float | None:
        """Return the best reported value of ``metric``, or None."""
        report = self.best(metric, until=until)
        return None if report is None else report.metrics[metric.name]

    def violation(self, metric: Metric, *, newest: bool = False) -> float:
        """Return how far the best checkpoint is outside the constraints of a goal; 0 if it keeps them.

        Infinite without a best checkpoint, or if a constrained metric was not measured.

        Args:
            metric: the searched metric.
            newest: use the newest measurements, not the reported ones.
        """
        best = self.best(metric)
        if best is None:
            return math.inf
        return metric.violation(self.at_best(metric) if newest else {**self.final, **best.metrics}, math.inf)

    def reported_at_best(self, metric: Metric) -> Mapping[str, float]:
        """Return the search's metrics of the best checkpoint; empty without one.

        They are those of its report, and those measured when the trial ended (``AT_END``).
        """
        best = self.best(metric)
        ended = {name: value for name, value in self.final.items() if name.startswith(AT_END)}
        return {} if best is None else {**ended, **best.metrics}

    def at_best(self, metric: Metric) -> Mapping[str, float]:
        """Return the metrics of the best checkpoint; a later measurement replaces the reported value.

        The search uses ``score``, which later measurements cannot change. Reports show these values.
        """
        best = self.best(metric)
        return {} if best is None else {**best.metrics, **self.final}

    def result(self, metric: Metric) -> float | None:
        """Return the newest measurement of ``metric`` at the best checkpoint, or None."""
        return self.at_best(metric).get(metric.name)

    @property
    def measured_last(self) -> Mapping[str, float]:
        """The metrics of ``final`` without a reported value, and those of ``AT_END``: ``shift/...``, ``test/...``."""
        reported = self.reports[-1].metrics if self.reports else {}
        return {name: value for name, value in self.final.items() if name not in reported or name.startswith(AT_END)}
