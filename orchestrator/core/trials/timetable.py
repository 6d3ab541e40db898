"""The report points of the trials."""

from dataclasses import dataclass

from orchestrator.core.trials.settings import TrialSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """Report points of a sweep, in nominal training samples.

    All trials report at the same points, whatever their batch size. A trial with fewer epochs than the longest one has
    its last report at its own end. It is compared with other trials only at earlier points.

    Attributes:
        points: ascending; the last point is the whole budget of the longest trial.
        rows_per_epoch: number of training rows if trials differ in their epochs; None: all train to the last point.
    """

    points: tuple[int, ...]
    rows_per_epoch: int | None = None

    def of(self, settings: TrialSettings) -> tuple[int, ...]:
        """Return a trial's report points, ascending; the last one is its whole budget."""
        if self.rows_per_epoch is None:
            return self.points
        samples = min(self.points[-1], samples_of(settings.epochs, self.rows_per_epoch))
        return (*(point for point in self.points if point < samples), samples)


def samples_of(epochs: float, rows: int) -> int:
    """Return the number of samples in ``epochs`` passes over ``rows`` rows, at least one."""
    return max(1, round(epochs * rows))
