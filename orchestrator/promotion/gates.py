"""What a winner should fulfil before people use it. Pure: metrics in, findings out; it decides nothing.

Two findings refuse a promotion unless a person forces it: a trial that is worse than another of its sweep or than the
version that is in use, and one that is worse than the baseline. The others warn, unless the gates are strict.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.core.metric import Metric
from orchestrator.tracking.links import best_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """The gates' bounds; None switches one off.

    Attributes:
        max_gap: largest overfit gap, in nats: validation loss minus train loss at the best checkpoint.
        min_gain: how much better than the baseline, in the searched metric's own unit; more than nothing in any case.
        strict: a gate that is not passed refuses the promotion; otherwise only the findings that say so refuse it.
    """

    max_gap: float | None = 0.5
    min_gain: float | None = 0.0
    strict: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One gate's outcome.

    Attributes:
        gate: the gate's name.
        passed: None where there was nothing to compare with.
        detail: the values that were compared, in words.
        refuses: whether the trial is not promoted unless somebody forces it, strict gates or not.
    """

    gate: str
    passed: bool | None
    detail: str
    refuses: bool = False


def check(
    metrics: Mapping[str, float], metric: Metric, baseline: Mapping[str, float] | None, gates: Gates
) -> tuple[Finding, ...]:
    """Return a finding per gate.

    Args:
        metrics: the adapter's summary, shift and test metrics.
        metric: the searched metric.
        baseline: a simple model's metrics by report name (``val/accuracy``), if there is one.
        gates: the bounds.
    """
    findings = [_finite(metrics)]
    if gates.min_gain is not None:
        findings.append(
            _gain(metrics.get(best_name(metric)), metric, (baseline or {}).get(metric.name), gates.min_gain)
        )
    if gates.max_gap is not None:
        findings.append(_gap(metrics.get("overfit_gap_at_best"), gates.max_gap))
    return tuple(findings)


def compare(gate: str, metric: Metric, value: float | None, other: float | None, whose: str) -> Finding:
    """Return whether a trial is at least as good as another one; it refuses if it is worse.

    Args:
        gate: the finding's name.
        metric: the searched metric.
        value: the trial's.
        other: the other's; None: not known.
        whose: the other, in words.
    """
    if value is None or other is None:
        return Finding(gate=gate, passed=None, detail=f"{whose} has no {metric.name} to compare with")
    passed = not metric.better(other, value)
    detail = f"{metric.name} {value:.4f}, {whose} has {other:.4f}"
    return Finding(gate=gate, passed=passed, detail=detail, refuses=not passed)


def _finite(metrics: Mapping[str, float]) -> Finding:
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    detail = f"not finite: {', '.join(broken)}" if broken else f"all {len(metrics)} metrics are finite"
    return Finding(gate="finite", passed=not broken, detail=detail)


def _gain(value: float | None, metric: Metric, baseline: float | None, min_gain: float) -> Finding:
    if value is None or baseline is None:
        return Finding(gate="baseline", passed=None, detail=f"no baseline for {metric.name}")
    gain = metric.sort_key(baseline) - metric.sort_key(value)
    wanted = f"a gain of at least {min_gain:g}" if min_gain > 0 else "any gain"
    detail = f"{metric.name} {value:.4f}, baseline {baseline:.4f}, {wanted} is wanted"
    return Finding(gate="baseline", passed=gain > 0 and gain >= min_gain, detail=detail, refuses=gain < 0)


def _gap(gap: float | None, max_gap: float) -> Finding:
    if gap is None:
        return Finding(gate="overfitting", passed=None, detail="no overfit gap was measured")
    return Finding(gate="overfitting", passed=gap <= max_gap, detail=f"overfit gap {gap:.4f}, at most {max_gap:g}")
