"""Trial tables: the recorded trials of one task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.core.errors import UserError
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class TableReport:
    """One report of a recorded trial.

    Attributes:
        samples: the report point, in nominal training samples.
        metrics: values by name, finite or not: ``val/loss``, ``train/loss`` ...
        seconds: time since the previous report. Trials of a pack share it: ``time/train_s`` and ``time/eval_s`` are the
            trial's own parts.
    """

    samples: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TableTrial:
    """One recorded trial.

    Attributes:
        number: the trial's number, unique in its sweep.
        sweep: the sweep's reference, ``NAME#GENERATION``.
        params: values of the active parameters of the space.
        settings: all settings of the trial.
        seed: seed of the trial.
        state: state at the time of recording.
        reason: why the trial ended, in words; None: it has not ended.
        reports: ascending by samples.
        final: metrics of the best checkpoint measured after the end, as in the ledger: ``shift/...`` and, for kept
            adapters, ``test/...``.
        test: metrics of the best checkpoint on the test split, by name without the split: ``loss``, ``accuracy`` ...
        test_rows: measurement of the best checkpoint on each test row; None: not recorded.
    """

    number: int
    sweep: str
    params: Mapping[str, ParamValue]
    settings: TrialSettings
    seed: int
    state: TrialState
    reason: str | None = None
    reports: tuple[TableReport, ...] = ()
    final: Mapping[str, float] = field(default_factory=dict)
    test: Mapping[str, float] = field(default_factory=dict)
    test_rows: RowMeasures | None = None

    def best(self, metric: Metric) -> TableReport | None:
        """Return the report with the best value of ``metric``, the first of equal ones; None if no value is a number.

        ``TrialRecord.best`` chooses the checkpoint of the same report.
        """
        place = metric.first_best([report.metrics.get(metric.name, math.nan) for report in self.reports])
        return None if place is None else self.reports[place]

    def score(self, metric: Metric) -> float | None:
        """Return the best reported value of ``metric``, or None."""
        best = self.best(metric)
        return None if best is None else best.metrics[metric.name]

    @property
    def configuration(self) -> frozenset[tuple[str, ParamValue]]:
        """The parameters with their values, equal for trials which differ in their seeds alone."""
        return frozenset(self.params.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTable:
    """The recorded trials of one task.

    Attributes:
        name: name of the task: the sweep's name.
        metric: the searched metric.
        spec_text: the sweep file, overrides applied and passwords masked.
        points: the sweep's report points in nominal training samples, ascending.
        trials: of one or more sweeps; ``sweep`` and ``number`` identify a trial.
    """

    name: str
    metric: Metric
    spec_text: str
    points: tuple[int, ...]
    trials: tuple[TableTrial, ...]

    @property
    def of_function(self) -> bool:
        """Whether the trials trained a function of the user, whose parameters have any names."""
        return any(trial.settings.values for trial in self.trials)

    def configurations(self) -> tuple[tuple[TableTrial, ...], ...]:
        """Return the trials grouped by equal ``params``; the trials of a group differ in their seeds."""
        groups: dict[frozenset[tuple[str, ParamValue]], list[TableTrial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.configuration, []).append(trial)
        return tuple(map(tuple, groups.values()))


def merge(tables: Sequence[TrialTable]) -> TrialTable:
    """Return one table with the trials of all tables; name and sweep file are those of the first table.

    A trial in several tables is taken from the last of them: a later export of the same sweep has more reports.

    Raises:
        UserError: there is no table, or the tables differ in their metric, report points or fixed settings.
        UserError: two tables have different trials of the same sweep and number.
    """
    if not tables:
        raise UserError("no trial tables to merge")
    first = tables[0]
    trials: dict[tuple[str, int], TableTrial] = {}
    for table in tables:
        if (table.metric, table.points) != (first.metric, first.points):
            raise UserError(
                f"tables {first.name} and {table.name} cannot be merged: {_differences(first, table)}; record the "
                "trials with one metric and the same report points"
            )
        for trial in table.trials:
            other = trials.setdefault((trial.sweep, trial.number), trial)
            if (other.settings, other.seed) != (trial.settings, trial.seed):
                raise UserError(
                    f"trial {trial.number} of {trial.sweep} has other settings or another seed in a second table; "
                    "record the trials under another sweep name"
                )
            trials[trial.sweep, trial.number] = trial
    if differing := _differing_settings(tuple(trials.values())):
        raise UserError(
            f"the tables cannot be merged: their trials differ in {', '.join(differing)}, which no trial searched; "
            "record the trials with the same fixed settings"
        )
    return replace(first, trials=tuple(trials.values()))


def _differing_settings(trials: Sequence[TableTrial]) -> list[str]:
    """Return the settings with several values among the trials, although they are no parameter of any of them."""
    searched = {name for trial in trials for name in trial.params}
    known = [trial.settings.to_json() for trial in trials]
    names = dict.fromkeys(name for values in known for name in values if name not in searched)
    return [name for name in names if any(values.get(name) != known[0].get(name) for values in known)]


def _differences(first: TrialTable, second: TrialTable) -> str:
    if first.metric != second.metric:
        return (
            f"metric {first.metric.name} ({first.metric.direction}), {second.metric.name} ({second.metric.direction})"
        )
    return f"report points {first.points}, {second.points}"
