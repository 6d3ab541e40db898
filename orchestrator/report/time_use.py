"""Time use of a sweep, computed from its reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from orchestrator.core.trials.trial import TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeUse:
    """Wall time of a sweep in three parts, which add up to ``elapsed_s``.

    Attributes:
        elapsed_s: wall time of all drivers, in seconds.
        training_s: wall time spent on training. Parallel trials share each second.
        evaluation_s: wall time spent on evaluation.
        outside_s: the rest: start-up, scheduling, checkpoints, tracking, waiting, work lost in a crash.
        busy_slots: mean number of trials in training or evaluation over ``elapsed_s``.
    """

    elapsed_s: float
    training_s: float
    evaluation_s: float
    outside_s: float
    busy_slots: float

    @property
    def parts(self) -> tuple[tuple[str, float], ...]:
        """The three parts as pairs of a name and seconds."""
        return ("training", self.training_s), ("evaluation", self.evaluation_s), ("other", self.outside_s)

    def share(self, seconds: float) -> float:
        """Return ``seconds`` as a fraction of the elapsed time, in [0, 1]."""
        return seconds / self.elapsed_s if self.elapsed_s > 0 else 0.0


def time_use(
    records: Sequence[TrialRecord],
    elapsed_s: float | None = None,
    closing: Sequence[tuple[float, float]] = (),
    *,
    together: bool = False,
) -> TimeUse | None:
    """Return the time use; None before the first report.

    Args:
        records: the sweep's trials.
        elapsed_s: wall time of all drivers, in seconds; None uses the time from the first to the last report.
        closing: start and end of the driver's own evaluations (test split and baseline), in seconds.
        together: whether trials trained in one pack and so report shares of its time.
    """
    reports = [report for record in records for report in record.reports]
    if not reports:
        return None
    evaluations = [*_shift_evaluations(records), *closing]
    work = [(report.started_at, report.ended_at) for report in reports] + evaluations
    begun, ended = min(start for start, _ in work), max(end for _, end in work)
    worked_s = _union_s(work)
    elapsed = max(worked_s, ended - begun if elapsed_s is None else elapsed_s)
    slot_s = sum(end - start for start, end in work)
    train_s = sum(report.metrics.get("time/train_s", 0.0) for report in reports)
    eval_s = sum(report.metrics.get("time/eval_s", 0.0) for report in reports)
    eval_s += sum(end - start for start, end in evaluations)
    # Rounded times of a report may add up to slightly more than its interval. No second is counted twice.
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


def _shift_evaluations(records: Sequence[TrialRecord]) -> list[tuple[float, float]]:
    """Return start and end of each ended trial's measurement on the shift sets, if its duration is known."""
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
