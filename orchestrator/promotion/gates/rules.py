"""Gates: rules for a candidate, as pure functions of its metrics. ``paired`` and ``leak`` have the gates on rows."""

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.gates import Gates, MetricBound
from orchestrator.core.sweeps.goal import Goal
from orchestrator.core.tasks.problem import Problem
from orchestrator.evaluation.scores.adapter_intervals import GAP, drop_interval, shift_sets
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.promotion.gates.bounds import CHOSEN, Decision, decide, why_none
from orchestrator.tracking.runs.summary import OVERFIT_GAP
from orchestrator.tracking.runs.wording import best_name

if TYPE_CHECKING:
    from orchestrator.statistics.intervals import Interval

MEMORISED_LOSS = 0.05
"""Training loss in nats up to which a model knows its training rows by heart: the mean probability of the right answer
is 95 %."""
FORGETTING_REMEDY = "no metric forgetting/... is stored; set data.general in the sweep file and run `sweep` again"
KEPT_SHARE = 1 / 3
"""Share of its training accuracy above chance that an adapter must keep on validation rows. Of 64 recorded adapters
trained on 200 rows, 20 have memorised them; they keep 38 to 55 % and have the best test accuracies."""


_BOUNDS = {
    "champion": "champion_gain",
    "slices": "slice_drop",
    "baseline": "baseline_gain",
    "overfitting": "gap",
    "memoriser": "memoriser_gap",
    "shift": "shift_drop",
    "forgetting": "forgetting",
    "leak": "leaked_rows",
    "near copies": "near_copies",
    "size": "size_bytes",
    "latency": "latency_ms",
    "latency ratio": "latency_ratio",
}
"""The bound of each gate in the section ``gates``."""


class Verdict(enum.StrEnum):
    """The verdict of a gate, or of all gates together."""

    PROMOTE = "promote"
    REFUSE = "refuse"
    ABSTAIN = "abstain"


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """The result of one gate.

    Attributes:
        gate: the gate's name.
        passed: whether the candidate keeps the rule; None: the gate abstains.
        detail: the compared values, in words.
        refuses: whether the gate stops the promotion, even if the gates are not strict.
        rule: the rule, in words.
        value: the value that the rule limits; None: not measured.
        interval: confidence interval of the value; None: unknown.
        rows_needed: number of rows that would decide; None: the gate does not abstain, or no number decides.
        rows_of: what these rows are, in words.
    """

    gate: str
    passed: bool | None
    detail: str
    refuses: bool = False
    rule: str = ""
    value: float | None = None
    interval: "Interval | None" = None
    rows_needed: int | None = None
    rows_of: str = "test rows"

    @property
    def verdict(self) -> Verdict:
        """The verdict. A rule that is broken without refusal is a warning: the verdict is ``promote``."""
        if self.passed is None:
            return Verdict.ABSTAIN
        return Verdict.REFUSE if self.refuses and not self.passed else Verdict.PROMOTE

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values, with its verdict."""
        return {**asdict(self), "verdict": self.verdict.value}


def overall(results: tuple[GateResult, ...]) -> Verdict:
    """Return the verdict of all gates: ``abstain`` if a gate that stops the promotion abstains and none refuses."""
    stopping = {result.verdict for result in results if result.refuses}
    if Verdict.REFUSE in stopping:
        return Verdict.REFUSE
    return Verdict.ABSTAIN if Verdict.ABSTAIN in stopping else Verdict.PROMOTE


def verdict_text(results: tuple[GateResult, ...]) -> str:
    """Return the verdict of all gates in one sentence, with the gates behind it, without a full stop.

    An abstention names the number of rows that would decide, if a number is known for each gate that abstains.
    """
    verdict = overall(results)
    names = [item.gate for item in results if item.refuses and item.verdict is verdict]
    text = f"verdict: {verdict.value}"
    if names:
        text += f", by {', '.join(names)}"
    if verdict is Verdict.ABSTAIN:
        undecided = [item for item in results if item.refuses and item.passed is None]
        needed: dict[str, int] = {}
        for item in undecided:
            needed[item.rows_of] = max(needed.get(item.rows_of, 0), item.rows_needed or 0)
        if all(item.rows_needed is not None for item in undecided):
            text += f"; about {' and '.join(f'{rows:,} {of}' for of, rows in needed.items())} would decide"
        else:
            text += "; more test rows alone do not decide"
    warned = [item.gate for item in results if item.passed is False and not item.refuses]
    if warned:
        text += f"; warnings: {', '.join(warned)}"
    unmeasured = [item.gate for item in results if item.passed is None and not item.refuses]
    return f"{text}; abstained without effect: {', '.join(unmeasured)}" if unmeasured else text


def as_strict(results: Iterable[GateResult]) -> tuple[GateResult, ...]:
    """Return the results; each broken rule refuses the candidate."""
    return tuple(replace(item, refuses=item.refuses or item.passed is False) for item in results)


def stop_if_unmeasured(results: Iterable[GateResult], gates: Gates) -> tuple[GateResult, ...]:
    """Return the results; a gate that cannot measure its value stops the promotion if a user wrote its bound.

    The user asked for this check. Without a value it did not take place, so the candidate may break the bound.
    """

    def is_written(gate: str) -> bool:
        return gate in gates.metrics or gates.binds(_BOUNDS.get(gate, ""))

    return tuple(
        replace(result, refuses=True) if result.passed is None and is_written(result.gate) else result
        for result in results
    )


def check(
    metrics: Mapping[str, float],
    metric: Metric,
    baseline: Mapping[str, float] | None,
    gates: Gates,
    chance: float | None = None,
    problem: Problem = Problem.SINGLE_LABEL,
    intervals: Mapping[str, MetricInterval] | None = None,
) -> tuple[GateResult, ...]:
    """Return the results of the gates on one adapter's metrics. ``bounds.decide`` has the rule for bounds.

    Args:
        metrics: the adapter's summary, shift and test metrics.
        metric: the searched metric.
        baseline: the baseline's metrics by report name (``val/accuracy``), or None.
        gates: the bounds.
        chance: share of the largest class among the validation rows; None: unknown, or a task without classes.
        problem: the problem of a classification head; language models have the default.
        intervals: the intervals of the metrics, by the names of ``metrics``; None: there are none.
    """
    results, limits = [_finite(metrics)], intervals or {}
    if gates.baseline_gain is not None:
        results.append(_gain(metrics.get(best_name(metric)), metric, (baseline or {}).get(metric.name), gates))
    if gates.gap is not None:
        results.append(_gap(metrics, metric, gates, limits))
    if gates.memoriser_gap is not None:
        results.append(_memoriser(metrics, gates.memoriser_gap, chance, problem, limits.get(OVERFIT_GAP)))
    if gates.shift_drop is not None:
        results.append(_shift(metrics, metric, gates.shift_drop, limits))
    if gates.forgetting is not None:
        results.append(_forgetting(metrics, metric, gates.forgetting, limits))
    return tuple(results)


def check_metrics(
    stored: Mapping[str, float],
    metric: Metric,
    bounds: Mapping[str, MetricBound],
    intervals: Mapping[str, MetricInterval] | None = None,
) -> tuple[GateResult, ...]:
    """Return the results of the bounds of stored metrics, each by the name of its metric.

    Args:
        stored: the metrics by name.
        metric: the searched metric.
        bounds: their ranges.
        intervals: their intervals, by name or summary name; None: there are none.
    """
    limits = intervals or {}
    limits = {**limits, GAP: limits[OVERFIT_GAP]} if OVERFIT_GAP in limits else limits
    return tuple(_range(name, stored.get(name), bound, limits, metric) for name, bound in bounds.items())


def check_constraints(
    stored: Mapping[str, float], metric: Goal, intervals: Mapping[str, MetricInterval] | None = None
) -> tuple[GateResult, ...]:
    """Return the results of the constraints of the search; a metric without a stored value stops the promotion too."""
    bounds = {each.name: MetricBound(min=each.min, max=each.max) for each in metric.constraints}
    results = check_metrics(stored, metric, bounds, intervals)
    return tuple(replace(each, gate=f"constraint {each.gate}", refuses=not each.passed) for each in results)


def compare(gate: str, metric: Metric, value: float | None, other: float | None, rival: str) -> GateResult:
    """Return the result of a comparison with a rival; a worse value refuses the promotion.

    Args:
        gate: the gate's name.
        metric: the searched metric.
        value: the candidate's value; None: unknown.
        other: the rival's value; None: unknown.
        rival: the rival's name, for ``detail``.
    """
    rule = f"{metric.name} not worse than {rival} (no interval: {CHOSEN})"
    if value is None or other is None:
        return GateResult(gate=gate, passed=None, detail=f"{rival} has no {metric.name} to compare with", rule=rule)
    passed = not metric.better(other, value)
    detail = f"{metric.name} {value:.4f}, {rival} has {other:.4f}"
    return GateResult(gate=gate, passed=passed, detail=detail, refuses=not passed, rule=rule, value=value)


def check_size(size_bytes: int | None, most: int) -> GateResult:
    """Return the result of the gate on the size of the adapter's weights; None: the adapter is not on this disk."""
    rule = f"weights of at most {most:,} bytes"
    if size_bytes is None:
        return _unmeasured("size", rule, "the adapter is not on this disk")
    passed = size_bytes <= most
    detail = f"{size_bytes:,} bytes, at most {most:,}"
    return GateResult(gate="size", passed=passed, detail=detail, refuses=not passed, rule=rule, value=float(size_bytes))


def _finite(metrics: Mapping[str, float]) -> GateResult:
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    detail = f"not finite: {', '.join(broken)}" if broken else f"all {len(metrics)} metrics are finite"
    return GateResult(
        gate="finite",
        passed=not broken,
        detail=detail,
        rule="all metrics are finite",
        value=float(len(broken)),
    )


def _gain(value: float | None, metric: Metric, baseline: float | None, gates: Gates) -> GateResult:
    least = gates.baseline_gain or 0.0
    needed = f"a gain of at least {least:g}" if least > 0 else "a gain > 0"
    rule = f"{needed} in {metric.name} over the baseline"
    if value is None or baseline is None:
        return _unmeasured("baseline", rule, f"no baseline for {metric.name}")
    gain = metric.sort_key(baseline) - metric.sort_key(value)
    passed = gain > 0 and gain >= least
    return GateResult(
        gate="baseline",
        passed=passed,
        detail=f"{metric.name} {value:.4f}, baseline {baseline:.4f}, {needed} is needed (no interval: {CHOSEN})",
        refuses=not passed and (gain < 0 or gates.binds("baseline_gain")),
        rule=rule,
        value=gain,
    )


def _gap(
    metrics: Mapping[str, float], metric: Metric, gates: Gates, limits: Mapping[str, MetricInterval]
) -> GateResult:
    gap, most = metrics.get(OVERFIT_GAP), gates.gap or 0.0
    rule = f"overfit gap at most {most:g}"
    if gap is None:
        return _unmeasured("overfitting", rule, "no overfit gap was measured")
    decision = decide(gap, MetricBound(max=most), limits.get(OVERFIT_GAP), why_none(GAP, metric))
    detail = f"overfit gap {gap:.4f}, at most {most:g}"
    return _decided("overfitting", rule, gap, detail, decision, refuses=gates.binds("gap") or gates.strict)


def _memoriser(
    metrics: Mapping[str, float], gap: float, chance: float | None, problem: Problem, limits: MetricInterval | None
) -> GateResult:
    """Return whether the adapter has memorised its training rows and has hardly learned the task.

    A training loss near 0 and a large overfit gap are no fault: the best adapters on few rows have both, because they
    are overconfident. A memoriser also loses most of its accuracy above chance on other rows. The bounds are in nats
    per label or token: the losses of several labels and of numbers have other scales and no accuracy. Three values
    decide together, so the interval of the gap alone makes no verdict.
    """
    rule = f"training loss above {MEMORISED_LOSS:g}, or overfit gap below {gap:g}"
    if problem is not Problem.SINGLE_LABEL:
        return _unmeasured("memoriser", rule, f"its bounds do not fit the loss of {problem.replace('_', ' ')}")
    train, measured = metrics.get("train_loss_at_best"), metrics.get(OVERFIT_GAP)
    if train is None or measured is None:
        return _unmeasured("memoriser", rule, "no training loss was measured")
    detail = f"training loss {train:.4f}, overfit gap {measured:.4f}"
    caught = train <= MEMORISED_LOSS and measured >= gap
    accuracies = [metrics.get("train_accuracy_at_best"), metrics.get("best_val_accuracy")]
    known = [value for value in accuracies if value is not None]
    if chance is not None and len(known) == 2 and known[0] > chance:
        share = (known[1] - chance) / (known[0] - chance)
        caught = caught and share < KEPT_SHARE
        rule += f", or validation accuracy above chance at least {KEPT_SHARE:.0%} of that on training rows"
        detail += f", accuracy {known[0]:.4f} on training rows and {known[1]:.4f} on validation (chance {chance:.4f})"
    detail = f"a memoriser: {detail}" if caught else detail
    interval = None if limits is None or not math.isfinite(measured) else limits.around(measured)
    if interval is not None:
        detail += f" (95 % interval of the gap {interval.low:.4f} to {interval.high:.4f})"
    return GateResult(
        gate="memoriser", passed=not caught, detail=detail, refuses=caught, rule=rule, value=measured, interval=interval
    )


def _shift(
    metrics: Mapping[str, float], metric: Metric, most: float, limits: Mapping[str, MetricInterval]
) -> GateResult:
    """Return the result for the shift set with the largest drop from the test value, else from the validation value."""
    name = metric.name.rpartition("/")[2]
    rule = f"{name} on a shift set at most {most:g} below its value on the test rows"
    test = f"test/{name}"
    reference = metrics.get(test, metrics.get(best_name(metric)))
    values = {each: metrics[key] for each in shift_sets(metrics) if (key := f"shift/{each}/{name}") in metrics}
    if reference is None or not values:
        return _unmeasured("shift", rule, f"no shift set has a measured {name}")
    worst = max(values, key=lambda each: metric.sort_key(values[each]))
    drop = metric.sort_key(values[worst]) - metric.sort_key(reference)
    ours, theirs = limits.get(test), limits.get(f"shift/{worst}/{name}")
    both = None
    if ours is not None and theirs is not None:
        both = drop_interval(ours, theirs, (reference, values[worst]), metric.direction)
    why = CHOSEN if test not in metrics else why_none(f"shift/{worst}/{name}" if ours is not None else test, metric)
    detail = f"{name} {reference:.4f}, on {worst} {values[worst]:.4f}: a drop of {drop:.4f}, at most {most:g}"
    return _decided("shift", rule, drop, detail, decide(drop, MetricBound(max=most), both, why))


def _forgetting(
    metrics: Mapping[str, float], metric: Metric, most: float, limits: Mapping[str, MetricInterval]
) -> GateResult:
    stored = {name: value for name, value in metrics.items() if name.startswith("forgetting/")}
    if not stored:
        rule = f"every forgetting/... at most {most:g}"
        return _unmeasured("forgetting", rule, FORGETTING_REMEDY)
    worst = max(stored, key=lambda each: stored[each])
    decision = decide(stored[worst], MetricBound(max=most), limits.get(worst), why_none(worst, metric))
    detail = f"{worst} {stored[worst]:.4f}, at most {most:g}"
    return _decided("forgetting", f"{worst} at most {most:g}", stored[worst], detail, decision)


def _range(
    name: str, value: float | None, bound: MetricBound, limits: Mapping[str, MetricInterval], metric: Metric
) -> GateResult:
    sides = (("at least", bound.min), ("at most", bound.max))
    allowed = " and ".join(f"{word} {limit:g}" for word, limit in sides if limit is not None)
    rule = f"{name} {allowed}"
    if value is None:
        return _unmeasured(name, rule, f"no metric {name} is stored")
    decision = decide(value, bound, limits.get(name), why_none(name, metric))
    return _decided(name, rule, value, f"{name} {value:.4f}, {allowed}", decision)


def _decided(
    gate: str, rule: str, value: float, detail: str, decision: Decision, *, refuses: bool = True
) -> GateResult:
    """Return the result of a gate with a bound; ``refuses``: a bound that is not kept stops the promotion."""
    return GateResult(
        gate=gate,
        passed=decision.passed,
        detail=f"{detail} ({decision.note})",
        refuses=refuses and not decision.passed,
        rule=rule,
        value=value,
        interval=decision.interval,
        rows_needed=decision.rows_needed,
        rows_of=decision.rows_of,
    )


def _unmeasured(gate: str, rule: str, reason: str) -> GateResult:
    return GateResult(gate=gate, passed=None, detail=reason, rule=rule)
