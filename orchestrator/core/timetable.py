"""When trials report, and where each of them ends."""

from dataclasses import dataclass

from orchestrator.core.settings import TrialSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """Report points of a sweep, in nominal training samples.

    All trials report at the same points, whatever their batch size. One that is to make fewer passes over the rows than
    the longest reports at its own end for the last time, and is compared with others below it alone.

    Attributes:
        points: ascending; the last one is the longest trial's whole budget.
        rows_per_epoch: training rows, where trials differ in their epochs; None: all train to the last point.
    """

    points: tuple[int, ...]
    rows_per_epoch: int | None = None

    def of(self, settings: TrialSettings) -> tuple[int, ...]:
        """Return the points at which a trial reports, ascending; the last one is its whole budget."""
        if self.rows_per_epoch is None:
            return self.points
        samples = min(self.points[-1], samples_of(settings.epochs, self.rows_per_epoch))
        return (*(point for point in self.points if point < samples), samples)


def samples_of(epochs: float, rows: int) -> int:
    """Return how many samples so many passes over so many rows are, at least one."""
    return max(1, round(epochs * rows))
