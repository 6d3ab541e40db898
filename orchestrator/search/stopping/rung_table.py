"""The running trials, the keys and the leader at each rung, updated record by record.

So the cost of a decision depends on the running trials and their rungs, not on the number of all trials. The table is a
function of the records alone: their order and repeated updates change nothing.
"""

import math
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from orchestrator.core.metric import Metric
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.search.stopping.rules import Key, Rule

LeaderKey: TypeAlias = tuple[float, float, Key]
"""Violation of the constraints and sort key of the searched metric, as the best checkpoint up to a rung has them, then
the key of the rung: of trials with equal accuracies one leads."""


class RungTable:
    """The input of a sweep's stopping rule."""

    def __init__(
        self, rule: Rule, metric: Metric, timetable: Timetable, records: Iterable[TrialRecord] = (), *, goal: Metric
    ) -> None:
        """Start from the given records, in any order.

        Args:
            rule: the stopping rule.
            metric: compared at rungs.
            timetable: the report points.
            records: the trials.
            goal: the searched metric, which ranks the trials in the end, with its constraints.
        """
        self.rule = rule
        self._metric, self._goal = metric, goal
        self._timetable = timetable
        self._running: dict[int, TrialRecord] = {}
        self._counted: dict[int, int] = {}  # number of reports already in the keys, by trial
        self._keys: dict[tuple[int, int], list[Key]] = {}
        self._leads: dict[tuple[int, int], LeaderKey] = {}
        for record in records:
            self.update(record)

    def update(self, record: TrialRecord) -> None:
        """Update one trial; its reports are never fewer than before."""
        number, bracket = record.number, self.rule.bracket(record.number)
        if record.ended:
            self._running.pop(number, None)
        else:
            self._running[number] = record
        if record.confirms is not None:  # it was chosen, so other trials are not compared with it
            return
        for report in record.reports[self._counted.get(number, 0) :]:
            rung = report.nominal_samples
            # At the end of a trial its learning rate has decayed; running trials would look worse in comparison.
            if rung in self.rule.brackets[bracket] and rung < self.end(record):
                standing = self._leader_key(record, rung)
                insort(self._keys.setdefault((bracket, rung), []), standing[-1])
                self._leads[bracket, rung] = min(standing, self._leads.get((bracket, rung), standing))
        self._counted[number] = len(record.reports)

    def end(self, record: TrialRecord) -> int:
        """Return the last report point of a trial."""
        return self._timetable.of(record.settings)[-1]

    def running(self) -> Iterator[TrialRecord]:
        """Yield the running trials by ascending number."""
        return (self._running[number] for number in sorted(self._running))

    def keys(self, bracket: int, rung: int) -> Sequence[Key]:
        """Return the keys of all trials of a bracket with a report at a rung, ascending."""
        return self._keys.get((bracket, rung), ())

    def key(self, record: TrialRecord, rung: int) -> Key:
        """Return the key of a trial at a rung: its best value up to the rung, smaller is better.

        Trials with a report within the constraints come before all others. Metrics measured only when a trial ends
        count as within.
        """
        return self._leader_key(record, rung)[-1]

    def leads(self, record: TrialRecord, rung: int) -> bool:
        """Return whether a trial has a value of the searched metric, and none at its rung ranks before it."""
        standing = self._leader_key(record, rung)
        return math.isfinite(standing[1]) and standing <= self._leads[self.rule.bracket(record.number), rung]

    def _leader_key(self, record: TrialRecord, rung: int) -> LeaderKey:
        best, score = record.best(self._goal, until=rung), record.score(self._metric, until=rung)
        violation = math.inf if best is None else self._goal.violation(best.metrics)
        value = None if best is None else best.metrics[self._goal.name]
        key = best is not None and violation > 0, self._metric.sort_key(score)
        return violation, self._goal.sort_key(value), key
