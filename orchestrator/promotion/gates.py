"""Gates: rules for a candidate, as pure functions of its metrics.

A candidate worse than the best trial of its sweep, the version in use or the baseline is refused, unless a person
forces the promotion. The other gates warn, unless the gates are strict.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.metric import Metric
from orchestrator.tracking.wording import best_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """Bounds of the gates; None switches a gate off.

    Attributes:
        max_gap: largest overfit gap at the best checkpoint, in nats.
        min_gain: smallest gain over the baseline, in the searched metric's unit; the gain must also be > 0.
        strict: whether each failed gate refuses the promotion.
    """

    max_gap: float | None = 0.5
    min_gain: float | None = 0.0
    strict: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GateResult:
    """The result of one gate.

    Attributes:
        gate: the gate's name.
        passed: whether the candidate passed; None without a value to compare with.
        detail: the compared values, in words.
        refuses: whether the gate refuses the promotion, even if the gates are not strict.
    """

    gate: str
    passed: bool | None
    detail: str
    refuses: bool = False


def check(
    metrics: Mapping[str, float], metric: Metric, baseline: Mapping[str, float] | None, gates: Gates
) -> tuple[GateResult, ...]:
    """Return the results of the gates on one adapter's metrics.

    Args:
        metrics: the adapter's summary, shift and test metrics.
        metric: the searched metric.
        baseline: the baseline's metrics by report name (``val/accuracy``), or None.
        gates: the bounds.
    """
    results = [_finite(metrics)]
    if gates.min_gain is not None:
        results.append(_gain(metrics.get(best_name(metric)), metric, (baseline or {}).get(metric.name), gates.min_gain))
    if gates.max_gap is not None:
        results.append(_gap(metrics.get("overfit_gap_at_best"), gates.max_gap))
    return tuple(results)


def compare(gate: str, metric: Metric, value: float | None, other: float | None, rival: str) -> GateResult:
    """Return the result of a comparison with a rival; a worse value refuses the promotion.

    Args:
        gate: the gate's name.
        metric: the searched metric.
        value: the candidate's value; None: unknown.
        other: the rival's value; None: unknown.
        rival: the rival's name, for ``detail``.
    """
    if value is None or other is None:
        return GateResult(gate=gate, passed=None, detail=f"{rival} has no {metric.name} to compare with")
    passed = not metric.better(other, value)
    detail = f"{metric.name} {value:.4f}, {rival} has {other:.4f}"
    return GateResult(gate=gate, passed=passed, detail=detail, refuses=not passed)


def _finite(metrics: Mapping[str, float]) -> GateResult:
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    detail = f"not finite: {', '.join(broken)}" if broken else f"all {len(metrics)} metrics are finite"
    return GateResult(gate="finite", passed=not broken, detail=detail)


def _gain(value: float | None, metric: Metric, baseline: float | None, min_gain: float) -> GateResult:
    if value is None or baseline is None:
        return GateResult(gate="baseline", passed=None, detail=f"no baseline for {metric.name}")
    gain = metric.sort_key(baseline) - metric.sort_key(value)
    needed = f"a gain of at least {min_gain:g}" if min_gain > 0 else "a gain > 0"
    detail = f"{metric.name} {value:.4f}, baseline {baseline:.4f}, {needed} is needed"
    return GateResult(gate="baseline", passed=gain > 0 and gain >= min_gain, detail=detail, refuses=gain < 0)


def _gap(gap: float | None, max_gap: float) -> GateResult:
    if gap is None:
        return GateResult(gate="overfitting", passed=None, detail="no overfit gap was measured")
    return GateResult(gate="overfitting", passed=gap <= max_gap, detail=f"overfit gap {gap:.4f}, at most {max_gap:g}")
