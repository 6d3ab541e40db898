"""Where a sweep's time went: a pure function of its reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.core.trial import TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeUse:
    """Wall time of a sweep, split three ways; the parts add up to ``elapsed_s``.

    Attributes:
        elapsed_s: wall time in which a driver ran, in seconds.
        training_s: wall time that went into training. Where trials ran side by side, a second is shared between what
            they did.
        evaluation_s: wall time that went into evaluation.
        outside_s: the rest: start-up, scheduling, checkpoints, tracking, waiting, work that was lost to a kill.
        busy_slots: trials that trained or evaluated at a time, on average over ``elapsed_s``.
    """

    elapsed_s: float
    training_s: float
    evaluation_s: float
    outside_s: float
    busy_slots: float

    def share(self, seconds: float) -> float:
        """Return ``seconds`` as a share of the elapsed time, 0 to 1."""
        return seconds / self.elapsed_s if self.elapsed_s > 0 else 0.0


def time_use(
    records: Sequence[TrialRecord],
    elapsed_s: float | None = None,
    closing: Sequence[tuple[float, float]] = (),
    *,
    together: bool = False,
) -> TimeUse | None:
    """Return where the time went; None before the first report.

    Args:
        records: the sweep's trials.
        elapsed_s: wall time in which drivers of this sweep ran; None takes it from the first to the last report.
        closing: when the driver itself evaluated, from and to: test split and baseline.
        together: trials trained in one pack, and the times that each of them reports are its share of the pack's.
    """
    reports = [report for record in records for report in record.reports]
    if not reports:
        return None
    looks = [*_last_looks(records), *closing]
    work = [(report.started_at, report.ended_at) for report in reports] + looks
    begun, ended = min(start for start, _ in work), max(end for _, end in work)
    worked_s = _union_s(work)
    elapsed = max(worked_s, ended - begun if elapsed_s is None else elapsed_s)
    slot_s = sum(end - start for start, end in work)
    train_s = sum(report.metrics.get("time/train_s", 0.0) for report in reports)
    eval_s = sum(report.metrics.get("time/eval_s", 0.0) for report in reports)
    eval_s += sum(end - start for start, end in looks)
    # A report's clocks may add up to a little more than its interval, by rounding; never count a second twice.
    scale = min(1.0, worked_s / max(train_s + eval_s, 1e-9))
    if not together:
        scale = min(scale, worked_s / max(slot_s, 1e-9))
    return TimeUse(
        elapsed_s=elapsed,
        training_s=train_s * scale,
        evaluation_s=eval_s * scale,
        outside_s=elapsed - (train_s + eval_s) * scale,
        busy_slots=(slot_s if together else train_s + eval_s) / max(elapsed, 1e-9),
    )


def _last_looks(records: Sequence[TrialRecord]) -> list[tuple[float, float]]:
    """Return when ended trials measured their best checkpoint on the shift sets, if they said how long it took."""
    return [
        (record.ended_at - record.final["time/shift_s"], record.ended_at)
        for record in records
        if record.ended_at is not None and "time/shift_s" in record.final
    ]


def _union_s(intervals: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
