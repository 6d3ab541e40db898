"""The results of trainings with fresh seeds, by the trial whose configuration they train."""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from orchestrator.core.metric import Metric
from orchestrator.core.trial import TrialRecord, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """The trainings of one configuration with fresh seeds.

    Attributes:
        trial: number of the search's trial with this configuration.
        trainings: the fresh trainings by ascending number; all have ended.
    """

    trial: int
    trainings: tuple[TrialRecord, ...]

    @property
    def failed(self) -> int:
        """Number of trainings that failed, for example because the loss diverged."""
        return sum(each.state is TrialState.FAIL for each in self.trainings)

    def values(self, metric: Metric) -> tuple[float, ...]:
        """Return the result of each training that did not fail."""
        results = (each.result(metric) for each in self.trainings if each.state is not TrialState.FAIL)
        return tuple(value for value in results if value is not None)

    def mean(self, metric: Metric) -> float | None:
        """Return the mean of the values; None without one."""
        values = self.values(metric)
        return fmean(values) if values else None

    def key(self, metric: Metric) -> tuple[int, float]:
        """Return a sort key: fewer failed trainings first, then the better mean."""
        return self.failed, metric.sort_key(self.mean(metric))


def confirmed(trials: Iterable[TrialRecord]) -> dict[int, Confirmed]:
    """Return the fresh trainings by the number of their configuration's trial, once all of its trainings have ended."""
    trainings: dict[int, list[TrialRecord]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.confirms is not None:
            trainings.setdefault(trial.confirms, []).append(trial)
    return {
        number: Confirmed(trial=number, trainings=tuple(each))
        for number, each in trainings.items()
        if all(training.ended for training in each)
    }
