"""The results of trainings with fresh seeds, by the trial whose configuration they train."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean

from orchestrator.core.metric import Metric
from orchestrator.core.trials.trial import TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """The trainings of one configuration with fresh seeds.

    Attributes:
        trial: number of the search's trial with this configuration.
        trainings: the ended fresh trainings by ascending number, at least one.
    """

    trial: int
    trainings: tuple[TrialRecord, ...]

    @property
    def whole(self) -> tuple[TrialRecord, ...]:
        """The trainings that did not fail; a failed one diverged or crashed."""
        return tuple(each for each in self.trainings if each.state is not TrialState.FAIL)

    @property
    def failed(self) -> int:
        """Number of failed trainings."""
        return len(self.trainings) - len(self.whole)

    def values(self, metric: Metric) -> tuple[float, ...]:
        """Return the result of each training that did not fail."""
        return tuple(value for each in self.whole if (value := each.result(metric)) is not None)

    def mean(self, metric: Metric) -> float | None:
        """Return the mean of the values; None without one."""
        values = self.values(metric)
        return fmean(values) if values else None

    def key(self, metric: Metric, count: int) -> tuple[int, int, float]:
        """Return a sort key from the first ``count`` trainings: fewer failed ones first, then the better mean.

        Trainings that violate a constraint of a goal come between the two.
        """
        first = replace(self, trainings=self.trainings[:count])
        violating = sum(each.violation(metric, newest=True) > 0 for each in first.whole)
        return first.failed, violating, metric.sort_key(first.mean(metric))


def confirmed(trials: Iterable[TrialRecord]) -> dict[int, Confirmed]:
    """Return the ended fresh trainings by the number of their configuration's trial, without points of a curve."""
    trainings: dict[int, list[TrialRecord]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.confirms is not None and trial.share is None and trial.ended:
            trainings.setdefault(trial.confirms, []).append(trial)
    return {number: Confirmed(trial=number, trainings=tuple(each)) for number, each in trainings.items()}
