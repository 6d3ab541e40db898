"""The leaderboard: trials ranked by their best checkpoint, as plain values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from orchestrator.core.configurations import ConfigurationSet
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.goal import Goal, metric_from_json, names_of
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.ranking import front, of_the_search, ranked_by_result
from orchestrator.core.trials.trial import LIMIT, OVERFITTING, TrialRecord, TrialState
from orchestrator.evaluation.rows.suspected_labels import FILE
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.report.kept_adapters import NO_CORRECTION, Comparison, KeptAdapters
from orchestrator.spec.trial_length import MIN_STEPS

STILL_FALLING = 0.02
"""Fall of the validation loss between the last two reports, as a fraction, from which longer training may help."""
_LARGER_SPLITS = "Compare them on more rows (data.validation, data.test) before you choose."


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One trial with the metrics of its best checkpoint; None where nothing was measured.

    Attributes:
        rank: place from 1; None without a score.
        score: the searched metric, as measured last.
        searched: the searched metric, as seen by the search. It differs from ``score`` if a kept adapter was measured
            again in float32.
        val_loss: validation loss, in nats.
        gap: validation loss minus training loss, in nats.
        samples: nominal training samples of the best checkpoint.
        trained: nominal training samples of the whole trial.
        steps: optimizer steps of the whole trial.
        falling: whether the validation loss still fell between the last two reports; None with fewer reports.
        final: metrics measured after the trial's end (``shift/<set>/<metric>``, ``test/<metric>``).
        params: the trial's configuration.
        intervals: interval of a metric (``test/accuracy``, ``gap/loss`` ...), for a kept adapter with stored rows.
        also: values of the goal's further metrics; empty without a goal.
        mark: ``front`` on the Pareto front of several metrics, ``outside`` the constraints; else empty.
    """

    number: int
    rank: int | None
    state: TrialState
    reason: str | None
    score: float | None
    searched: float | None
    val_loss: float | None
    gap: float | None
    samples: int | None
    trained: int
    steps: int
    falling: bool | None
    final: Mapping[str, float]
    params: Mapping[str, ParamValue]
    intervals: Mapping[str, MetricInterval] = field(default_factory=dict)
    also: Mapping[str, float | None] = field(default_factory=dict)
    mark: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaderboard:
    """The trials, the best first, and the classical baseline on the same rows.

    Attributes:
        varied: names of the parameters with different values, in the order of the space.
        baseline: metrics of the baseline by name (``val/accuracy``, ``test/accuracy`` ...); None without a baseline.
        status: status of the sweep.
        comparison: the kept adapters compared on the test rows; None: not compared.
        label_limit: the searched metric of a model without errors, if the suspected validation labels are wrong; None:
            no label is suspected.
    """

    metric: Metric
    rows: tuple[Row, ...]
    varied: tuple[str, ...]
    baseline: Mapping[str, float] | None = None
    status: SweepStatus = SweepStatus.RUNNING
    comparison: Comparison | None = None
    label_limit: float | None = None

    @property
    def best(self) -> Row | None:
        """The winner; None before the first score."""
        return self.rows[0] if self.rows and self.rows[0].rank == 1 else None

    @property
    def within(self) -> tuple[Row, ...]:
        """The trials within the constraints, the best first; all trials if none with a score is."""
        rows = tuple(row for row in self.rows if row.mark != "outside")
        return rows if any(row.rank is not None for row in rows) else self.rows

    @property
    def remeasured_note(self) -> str | None:
        """A sentence on scores different from the values of the search; None if all are equal."""
        again = [
            f"{row.searched:.4f} for trial {row.number}"
            for row in self.rows
            if row.searched is not None and row.score is not None and round(row.searched - row.score, 4)
        ]
        if not again:
            return None
        return f"Kept adapters were measured again in float32; the search used {', '.join(again)}"

    @property
    def test_metric(self) -> str:
        """The searched metric on the test split, such as ``test/accuracy``."""
        return f"test/{self.metric.name.rpartition('/')[2]}"

    @property
    def interval_note(self) -> str | None:
        """What the intervals include, and why other values have none, in words; None before the first score."""
        if self.best is None:
            return None
        shown = (row.intervals.get(self.test_metric) for row in self.rows)
        first = next((interval for interval in shown if interval is not None), None)
        if first is not None:
            text = f"{100 * first.level:.0f} % intervals of {self.test_metric} include {first.sources}. {NO_CORRECTION}"
        elif any(self.test_metric in row.final for row in self.rows):
            text = f"{self.test_metric} has no interval: no values of its single rows are stored"
        else:
            text = f"no intervals yet: they need {self.test_metric}, measured after the search"
        chosen = "Validation values have none, because checkpoints and trials were chosen by them"
        return f"{text}. {chosen}{self._others_without}"

    @property
    def _others_without(self) -> str:
        """Why values of shift sets and of the baseline have no interval, in words; empty if all have one."""
        used = names_of(self.metric)
        shift = [name for name in self.final_metrics if name.startswith("shift/")]
        chose = [name for name in shift if any(each.startswith(f"{name.rpartition('/')[0]}/") for each in used)]
        shown = {name for row in self.rows for name in row.intervals}
        unstored = ["shift sets"] if any(name not in shown and name not in chose for name in shift) else []
        unstored += [] if self.baseline is None else ["the baseline"]
        text = f"; nor have those of {' and '.join(unstored)}, because their rows are not stored" if unstored else ""
        sets = sorted({name.split("/")[1] for name in chose})
        return f"{text}; nor have those of {', '.join(sets)}, because the search chose by them" if sets else text

    @property
    def best_compared(self) -> int | None:
        """Number of the first compared trial on the leaderboard, which ``promote`` takes; None: not compared."""
        compared = () if self.comparison is None else (*self.comparison.tied, *self.comparison.worse)
        return next((row.number for row in self.rows if row.number in compared), None)

    @property
    def comparison_note(self) -> str | None:
        """A sentence on the kept adapters that cannot be told apart; None if they were not compared."""
        return None if self.comparison is None else self.comparison.sentence(self.best_compared)

    @property
    def label_advice(self) -> str | None:
        """Advice to correct labels if the winner is as good as the suspected label errors allow; else None."""
        best, limit = self.best, self.label_limit
        if best is None or best.score is None or limit is None:
            return None
        if self._is_better(limit, best.score) and not math.isclose(limit, best.score, abs_tol=1e-9):
            return None
        return (
            f"If the suspected labels are wrong, a model without errors reaches {limit:.4f} on validation, and trial "
            f"{best.number} already does. Correct the labels in {FILE} first."
        )

    @property
    def below_baseline(self) -> bool:
        """Whether the winner is worse than the baseline on validation. ``promote`` then needs ``--force``."""
        value, best = (self.baseline or {}).get(self.metric.name), self.best
        return best is not None and self._is_better(value, best.score)

    @property
    def baseline_warning(self) -> str | None:
        """A warning with advice if the winner does not beat the baseline on validation and test; else None."""
        name, best = self.metric.name, self.best
        value = (self.baseline or {}).get(name)
        if value is None or best is None or best.score is None:
            return None
        test = self.test_metric
        tested, other = best.final.get(test), (self.baseline or {}).get(test)
        both = None if tested is None or other is None else f"{tested:.4f} to {other:.4f}"
        ahead_on_test = both is not None and self._is_better(tested, other)
        if self._is_better(best.score, value):
            if both is None or ahead_on_test:
                return None
            return (
                f"Trial {best.number} is better than the baseline on {name} but not on {test} ({both}): the gain may "
                f"be chance. {_LARGER_SPLITS}"
            )
        result = f"No trial is better than the baseline on {name} ({best.score:.4f} to {value:.4f})"
        if ahead_on_test:
            return f"{result}, but trial {best.number} is better on {test} ({both}): they are close. {_LARGER_SPLITS}"
        return f"{result}. {self.label_advice or self._unfinished_advice() or self._advice()}"

    @property
    def unfinished(self) -> int:
        """Number of trials that run or are suspended."""
        return sum(row.state is TrialState.RUNNING for row in self.rows)

    def _is_better(self, value: float | None, other: float | None) -> bool:
        return self.metric.sort_key(value) < self.metric.sort_key(other)

    def _unfinished_advice(self) -> str | None:
        """Return that the longest trial has not been trained to its end; None if it has ended."""
        trained = max(row.trained for row in self.rows)
        longest = next(row for row in self.rows if row.trained == trained)
        if longest.state is not TrialState.RUNNING:
            return None
        return (
            f"No trial was trained further than {trained:,} samples, and {self.unfinished} of {len(self.rows)} trials "
            "are unfinished: a larger budget continues them."
        )

    def _advice(self) -> str:
        """Return for a sweep below the baseline whether its trials were too short to tell, and what to change."""
        trained = max(row.trained for row in self.rows)
        longest = next(row for row in self.rows if row.trained == trained)  # the best of the longest trials
        most = max(row.steps for row in self.rows)
        steps = f"{most:,} optimizer steps"
        end = f"at the last report of trial {longest.number}"
        if (longest.reason or "").startswith(OVERFITTING):
            return (
                f"Even the longest trial overfitted, after {longest.steps:,} optimizer steps. Try more training rows, "
                "another base model, or lower learning rates and ranks in search.space."
            )
        if (longest.reason or "").startswith(LIMIT):
            return (
                f"Even the longest trial was ended by early_stopping.limits, after {longest.steps:,} optimizer steps. "
                "Try wider limits, more training rows, another base model or a wider search.space."
            )
        if most < MIN_STEPS:
            falling = f", and val/loss still fell {end}" if longest.falling else ""
            return (
                f"Trials were too short to tell: at most {steps}, fewer than {MIN_STEPS}{falling}. Raise "
                "training.epochs, or remove it: the epochs then follow from the data."
            )
        if longest.falling:
            return f"Trials may be too short to tell: after {steps}, val/loss still fell {end}. Raise training.epochs."
        flat = "" if longest.falling is None else f", and val/loss no longer fell {end}"
        return (
            f"Trials were long enough: {steps}{flat}. Try more training rows, another base model or a wider "
            "search.space, or use the baseline."
        )

    @property
    def final_metrics(self) -> tuple[str, ...]:
        """The searched metric on other splits, if measured: ``test/accuracy``, ``shift/tweets/accuracy`` ..."""
        kind = self.metric.name.rpartition("/")[2]
        measured = {name for row in self.rows for name in row.final if name.startswith(("test/", "shift/"))}
        names = {name for name in measured if name.rpartition("/")[2] == kind}
        return tuple(sorted(names, key=lambda name: (not name.startswith("test/"), name)))


def metric_of(sweep: SweepRecord) -> Metric:
    """Return the searched metric of a stored sweep."""
    if sweep.facts.metric is not None:
        return sweep.facts.metric
    return metric_from_json(sweep.fingerprint["metric"])


def leaderboard(
    records: Sequence[TrialRecord],
    metric: Metric,
    baseline: Mapping[str, float] | None = None,
    status: SweepStatus = SweepStatus.RUNNING,
    kept: KeptAdapters | None = None,
    label_limit: float | None = None,
) -> Leaderboard:
    """Return the leaderboard. Trials are ranked by result, whatever their outcome; trials without one come last.

    Trainings with fresh seeds have no row; they decide the order of the trials they confirm.
    """
    kept, ranked = kept or KeptAdapters(), ranked_by_result(records, metric)
    places = {record.number: place for place, record in enumerate(ranked)}
    searched = of_the_search(records)
    ordered = sorted(searched, key=lambda record: (places.get(record.number, len(ranked)), record.number))
    rows = tuple(
        _row(record, metric, place, kept.intervals.get(record.number, {}))
        for place, record in enumerate(ordered, start=1)
    )
    if isinstance(metric, Goal):
        rows = _with_goal(rows, {record.number: record for record in searched}, metric)
    varied = ConfigurationSet(record.params for record in searched).varied
    return Leaderboard(
        metric=metric,
        rows=rows,
        varied=varied,
        baseline=baseline or None,
        status=status,
        comparison=kept.comparison,
        label_limit=label_limit,
    )


def _with_goal(rows: Sequence[Row], records: Mapping[int, TrialRecord], metric: Goal) -> tuple[Row, ...]:
    """Return the rows with their marks and the values of the further metrics."""
    members = front(records.values(), metric) if metric.also else frozenset[int]()
    marked = []
    for row in rows:
        record = records[row.number]
        also = {each.name: record.at_best(metric).get(each.name) for each in metric.also}
        outside = row.rank is not None and record.violation(metric, newest=True) > 0
        marked.append(replace(row, also=also, mark="outside" if outside else "front" if row.number in members else ""))
    return tuple(marked)


def _row(record: TrialRecord, metric: Metric, place: int, intervals: Mapping[str, MetricInterval]) -> Row:
    best, at_best = record.best(metric), record.at_best(metric)
    return Row(
        number=record.number,
        rank=None if best is None else place,
        state=record.state,
        reason=record.reason,
        score=at_best.get(metric.name),
        searched=record.score(metric),
        val_loss=at_best.get("val/loss"),
        gap=at_best.get("gap/loss"),
        samples=None if best is None else best.nominal_samples,
        trained=record.samples,
        steps=-(-record.samples // record.settings.rows_per_update),
        falling=None if (fall := last_fall(record)) is None else fall > STILL_FALLING,
        final=record.measured_last,
        params=record.params,
        intervals=intervals,
    )


def last_fall(record: TrialRecord) -> float | None:
    """Return the fall of the validation loss between the last two reports, as a fraction; None with fewer reports."""
    losses = [report.metrics["val/loss"] for report in record.reports if "val/loss" in report.metrics]
    return None if len(losses) < 2 or not losses[-2] else 1 - losses[-1] / losses[-2]
