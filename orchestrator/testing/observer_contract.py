"""Tests of one observer of sweeps, on made-up events."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.observer import SweepObserver
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Action, Decision, Outcome, Report, TrialRecord, TrialState

METRIC = "val/accuracy"
POINTS = (1000, 2000)


def report_of(trial: int, samples: int, accuracy: float) -> Report:
    """Return a report with this validation accuracy."""
    return Report(
        trial=trial,
        nominal_samples=samples,
        metrics={METRIC: accuracy, "val/loss": 1.0, "train/loss": 0.9, "progress/tokens": 30.0 * samples},
        checkpoint=f"trials/{trial:04d}/checkpoint-{samples}",
        started_at=1000.0 + samples,
        ended_at=1001.0 + samples,
    )


class _Comparing(SweepObserver):
    """Passes every event on, and checks afterwards that the observer has not changed its values."""

    def __init__(self, observer: SweepObserver) -> None:
        self._observer = observer

    def prepared(self, plan: EnginePlan) -> None:
        self._send(self._observer.prepared, plan)

    def trial_started(self, trial: TrialRecord) -> None:
        self._send(self._observer.trial_started, trial)

    def reported(self, trial: TrialRecord, report: Report) -> None:
        self._send(self._observer.reported, trial, report)

    def decided(self, trial: TrialRecord, decision: Decision) -> None:
        self._send(self._observer.decided, trial, decision)

    def trial_ended(self, trial: TrialRecord) -> None:
        self._send(self._observer.trial_ended, trial)

    def _send(self, event: Callable[..., None], *values: object) -> None:
        before = copy.deepcopy(values)
        event(*values)
        assert values == before


class ObserverContract:
    """Tests of one observer. Subclasses give the fixture ``observer``: a new observer of an empty sweep."""

    @pytest.fixture
    def observer(self) -> SweepObserver:
        """Return the observer under test."""
        raise NotImplementedError("override the fixture `observer`")

    @pytest.fixture
    def plan(self, tmp_path: Path) -> EnginePlan:
        """Return the plan of a sweep with the metric ``val/accuracy``."""
        source = Source(origin=Origin.LOCAL, name="made up")
        return EnginePlan(
            objective="made up",
            model=source,
            data=DataPlan(source=source),
            report_points=POINTS,
            sweep_dir=str(tmp_path),
            metric=METRIC,
        )

    def opened(self, number: int) -> TrialRecord:
        """Return a trial without reports."""
        return TrialRecord(
            number=number,
            params={"learning_rate": 1e-4},
            settings=TrialSettings(learning_rate=1e-4),
            seed=number,
            state=TrialState.RUNNING,
            started_at=1000.0,
        )

    def play(self, observer: SweepObserver, trial: TrialRecord, accuracies: tuple[float, ...]) -> TrialRecord:
        """Send the events of a trial's reports, each with its decision; the last decision stops the trial."""
        for samples, accuracy in zip(POINTS, accuracies, strict=False):
            report = report_of(trial.number, samples, accuracy)
            trial = replace(trial, reports=(*trial.reports, report))
            observer.reported(trial, report)
            stops = samples == POINTS[: len(accuracies)][-1]
            decision = Decision(
                trial=trial.number,
                nominal_samples=samples,
                action=Action.STOP if stops else Action.CONTINUE,
                outcome=Outcome(state=TrialState.COMPLETE, reason="reached its budget") if stops else None,
            )
            trial = replace(trial, decisions={**trial.decisions, samples: decision})
            observer.decided(trial, decision)
        return trial

    def end(self, observer: SweepObserver, trial: TrialRecord, state: TrialState) -> TrialRecord:
        """Send the event of a trial's end."""
        ended = replace(trial, state=state, reason="for a test", ended_at=3000.0)
        observer.trial_ended(ended)
        return ended

    def events(self, observer: SweepObserver, plan: EnginePlan) -> Iterator[TrialRecord]:
        """Send a sweep of one complete, one pruned and two failed trials; yield each at its end."""
        observer.prepared(plan)
        trials = [self.opened(number) for number in range(4)]
        for trial in trials:
            observer.trial_started(trial)
        yield self.end(observer, self.play(observer, trials[1], (0.5,)), TrialState.PRUNED)
        yield self.end(observer, self.play(observer, trials[0], (0.7, 0.8)), TrialState.COMPLETE)
        yield self.end(observer, trials[2], TrialState.FAIL)
        yield self.end(observer, self.play(observer, trials[3], (math.nan,)), TrialState.FAIL)

    def test_observer_accepts_a_sweep(self, observer: SweepObserver, plan: EnginePlan) -> None:
        """Trials overlap and end in any order; values may be NaN; a trial may end without a report."""
        assert [trial.number for trial in self.events(observer, plan)] == [1, 0, 2, 3]

    def test_observer_accepts_resumed_trials(self, observer: SweepObserver, plan: EnginePlan) -> None:
        """After a resume the observer sees a trial start again, with its earlier reports; the trial may end at once."""
        observer.prepared(plan)
        observer.trial_started(self.opened(0))
        trial = self.play(observer, self.opened(0), (0.7,))
        observer.trial_started(trial)
        self.end(observer, trial, TrialState.COMPLETE)

    def test_observer_leaves_records_alone(self, observer: SweepObserver, plan: EnginePlan) -> None:
        """Records are shared with the driver and the other observers."""
        assert len([*self.events(_Comparing(observer), plan)]) == 4
