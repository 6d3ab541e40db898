"""An engine that packs the trials that can be packed, and trains the others with the solo engine."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestrator.core.errors import DivergedError
from orchestrator.core.methods.catalogue import FULL
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE
from orchestrator.training.checks.adapter_check import check_adapters
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Capacity, TrialRun
from orchestrator.training.packed.engine import PackedEngine
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.solo.engine import SoloEngine, SoloRun

logger = logging.getLogger(__name__)


class MixedEngine:
    """Routes each trial to the packed or the solo engine; see ``PackingEngine``.

    The pack and the solo trials take turns. In its turn the pack trains until one of its trials reports. In the
    next turn each solo trial trains until it reports; of the trials with method ``full`` one at a time is in memory.
    The solo engine measures saved checkpoints in float32.
    """

    def __init__(self, context: EngineContext) -> None:
        """Load nothing yet; the base model is loaded for the first trial."""
        self._context = context
        self._solo = SoloEngine(context)
        self._packed = PackedEngine(context, lambda folder, _task: self._solo.forgetting(folder))
        self._packs_turn = True
        self._whole: SoloRun | None = None  # the newest trial of method full

    def start(self, task: TrialTask) -> "MixedRun":
        """Return the trial's run; its engine is chosen before its first batch.

        Raises:
            LoratoryError: the engine is closed.
        """
        self._context.require_open()
        return MixedRun(self, task, self._context)

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Try which trials can be packed, and how many to train at once; see ``PackingEngine.capacity``."""
        notes = check_adapters(self._context.plan, self._context.objective)
        capacity = self._packed.capacity(most, measure=measure)
        return replace(capacity, notes=notes)

    def step(self, wanted: Mapping[TrialRun, int]) -> dict[TrialRun, Report | DivergedError]:
        """Train the trials whose turn it is; see ``PackingEngine.step``."""
        runs = {run: point for run, point in wanted.items() if isinstance(run, MixedRun)}
        assert len(runs) == len(wanted), "a run of another engine"
        stored = _stored_reports(runs)
        if stored:
            return stored
        self._place([run for run in runs if run.solo is None])
        solo = {run: point for run, point in runs.items() if run.solo is not None}
        packed = {run: point for run, point in runs.items() if self._packed.holds(run.number)}
        outcomes: dict[TrialRun, Report | DivergedError] = {}
        if solo and not (packed and self._packs_turn):
            advanced = self._packed.attempt(partial(self._advance_each, solo))
            if advanced is None:  # out of memory: all slots are freed
                return {}
            outcomes |= advanced
            self._packs_turn = True
        # A checkpoint restored into a slot also serves the report points of the same update.
        outcomes |= _stored_reports(packed)
        if outcomes or not packed:
            return outcomes
        trained = self._packed.train({run.number: point for run, point in packed.items()})
        self._packs_turn = not trained
        return {run: trained[run.number] for run in packed if run.number in trained}

    def finish(self, run: "MixedRun", best_samples: int) -> Mapping[str, float]:
        """Measure a trial's best checkpoint; see ``TrialRun.finish``.

        If memory runs out beside the other trials, these lose their slots, and the measurement is tried again.
        """
        if not self._context.final_splits(run.folder, best_samples) and not self._context.plan.forgetting:
            return {}
        packed = [run.number] if run.solo is None else []
        metrics = self._packed.attempt(partial(self._finish, run, best_samples), packed)
        return self._finish(run, best_samples) if metrics is None else metrics

    def _finish(self, run: "MixedRun", best_samples: int) -> Mapping[str, float]:
        if run.solo is None and not run.folder.has_adapter(best_samples):  # removed or damaged
            self._packed.leave(run.number)
            run.folder.rewind(best_samples)
            run.advance(best_samples)
        if run.solo is None:
            try:
                self._packed.place(run.task)
            except CannotPackError as error:
                self._train_solo(run, str(error))
        if run.solo is not None:
            return run.solo.finish(best_samples)
        metrics = self._packed.finish(run.number, best_samples)
        if self._context.plan.forgetting:  # by the solo engine: a plain model with this adapter alone
            metrics |= self._solo.forgetting(run.folder.checkpoint(best_samples))
        return metrics

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Measurement:
        """Measure a checkpoint, or its ``adapter`` folder, in float32 on a split."""
        return self._solo.measure(checkpoint, task, split)

    def holds(self, number: int) -> bool:
        """Return whether a trial has a slot in the pack."""
        return self._packed.holds(number)

    def leave(self, number: int) -> None:
        """Free a trial's slot in the pack, if it has one."""
        self._packed.leave(number)

    def close(self) -> None:
        """Free the base model and the data; calling it again does nothing."""
        self._solo.close()  # first, so that the packed engine returns the memory of the rows to the system too
        self._packed.close()

    def _place(self, runs: "list[MixedRun]") -> None:
        """Give a slot to as many of the runs as memory allows, and send the runs that cannot be packed to solo."""
        refused = self._packed.place_all([run.task for run in runs])
        for run in runs:
            if run.number in refused:
                self._train_solo(run, refused[run.number])

    def _advance_each(self, runs: "Mapping[MixedRun, int]") -> dict[TrialRun, Report | DivergedError]:
        """Train each trial of the solo engine on to its report point."""
        outcomes: dict[TrialRun, Report | DivergedError] = {}
        for run, point in runs.items():
            assert run.solo is not None
            if run.task.settings.method == FULL:
                self._hold_alone(run.solo)
            try:
                outcomes[run] = run.solo.advance(point)
            except DivergedError as error:
                outcomes[run] = error
        return outcomes

    def _hold_alone(self, run: SoloRun) -> None:
        """Free the other trial of method ``full``, which then resumes exactly from its newest checkpoint.

        The number of slots counts with the memory of adapters. Such a trial needs four times the base model's.
        """
        if self._whole is not None and self._whole is not run:
            self._whole.close()
        self._whole = run

    def _train_solo(self, run: "MixedRun", reason: str) -> None:
        logger.warning("trial %d is trained by the solo engine: %s", run.number, reason)
        run.solo = self._solo.start(run.task)


class MixedRun:
    """One trial; see ``TrialRun``. ``MixedEngine.step`` trains several of them together.

    Attributes:
        task: the trial.
        number: its number.
        folder: its checkpoints.
        solo: its run in the solo engine; None as long as the trial may be packed.
    """

    def __init__(self, engine: MixedEngine, task: TrialTask, context: EngineContext) -> None:
        self._engine = engine
        self._context = context
        self.task = task
        self.number = task.number
        self.folder = context.trial_folder(task, SLOT_STATE)
        self.solo: SoloRun | None = None

    def stored_report(self, nominal_samples: int) -> Report | None:
        """Return the report on disk at a report point, or None.

        Raises:
            ValueError: the trial does not report at ``nominal_samples``.
        """
        self._context.require_report_point(self.task, nominal_samples)
        return self.folder.report(nominal_samples)

    def advance(self, nominal_samples: int) -> Report:
        """Train on to a report point, or return the report stored there."""
        while True:
            outcome = self._engine.step({self: nominal_samples}).get(self)
            if isinstance(outcome, DivergedError):
                raise outcome
            if outcome is not None:
                return outcome

    def finish(self, best_samples: int) -> Mapping[str, float]:
        """Measure the best checkpoint, and free the slot."""
        try:
            return self._engine.finish(self, best_samples)
        finally:
            self.close()

    def close(self) -> None:
        """Free the slot, or the solo engine's run."""
        if self.solo is not None:
            self.solo.close()
        self._engine.leave(self.number)


def _stored_reports(runs: Mapping[MixedRun, int]) -> dict[TrialRun, Report | DivergedError]:
    reports = {run: run.stored_report(point) for run, point in runs.items()}
    return {run: report for run, report in reports.items() if report is not None}
