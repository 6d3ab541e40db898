"""What a rule compares: who is under way, and the values at each rung, kept up to date record by record.

So a decision looks at the trials under way and at the rungs where they meet, however many trials there have been. It
holds nothing that the records do not say, and is the same in whatever order, and however often, they were taken.
"""

from bisect import insort
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.core.metric import Metric
from orchestrator.core.timetable import Timetable
from orchestrator.core.trial import TrialRecord
from orchestrator.search.stopping.rules import Rule


class Standings:
    """The trials of one sweep as its rule sees them."""

    def __init__(self, rule: Rule, metric: Metric, timetable: Timetable, records: Iterable[TrialRecord] = ()) -> None:
        """Start from the records so far, in any order."""
        self.rule = rule
        self._metric = metric
        self._timetable = timetable
        self._live: dict[int, TrialRecord] = {}
        self._counted: dict[int, int] = {}  # reports of each trial that stand among the keys
        self._keys: dict[tuple[int, int], list[float]] = {}
        for record in records:
            self.take(record)

    def take(self, record: TrialRecord) -> None:
        """Take over what a trial has become; its reports are never fewer than before."""
        number, bracket = record.number, self.rule.bracket(record.number)
        if record.ended:
            self._live.pop(number, None)
        else:
            self._live[number] = record
        for report in record.reports[self._counted.get(number, 0) :]:
            rung = report.nominal_samples
            # At its end a trial's learning rate has come down, and those that still have way to go look worse for it.
            if rung in self.rule.brackets[bracket] and rung < self.end(record):
                insort(self._keys.setdefault((bracket, rung), []), self.key(record, rung))
        self._counted[number] = len(record.reports)

    def end(self, record: TrialRecord) -> int:
        """Return the nominal samples at which a trial ends if nobody stops it; no rung is beyond the longest's."""
        return self._timetable.of(record.settings)[-1]

    def live(self) -> Iterator[TrialRecord]:
        """Yield the trials that have not ended, by ascending number."""
        return (self._live[number] for number in sorted(self._live))

    def keys(self, bracket: int, rung: int) -> Sequence[float]:
        """Return the keys of all trials of a bracket that have passed a rung, the best (smallest) first."""
        return self._keys.get((bracket, rung), ())

    def key(self, record: TrialRecord, rung: int) -> float:
        """Return what a trial is compared by at a rung: its best value up to there, smaller is better."""
        return self._metric.sort_key(record.score(self._metric, until=rung))
