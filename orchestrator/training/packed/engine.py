"""The packed engine: trials take slots of one pack, train together, and report each by itself."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from orchestrator.core.errors import DivergedError, LoratoryError, UserError
from orchestrator.core.manifest import Owner
from orchestrator.core.plan import EnginePlan
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import Report, TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, TrialFolder
from orchestrator.training.checks.adapter_check import check_adapters
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.engine import Capacity, TrialRun
from orchestrator.training.model.adapters import reason_of
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.fitness import reason_not_to_pack
from orchestrator.training.packed.headroom import Headroom
from orchestrator.training.packed.kinds import Kind, capacity_for, told
from orchestrator.training.packed.reporting import report
from orchestrator.training.packed.run import PackedRun, advanced
from orchestrator.training.packed.sizing import Sizing
from orchestrator.training.packed.slots.adapter import new_adapter, require_packable
from orchestrator.training.process.hardware import choose_device, computes_in_bfloat16
from orchestrator.training.process.memory import free_memory, reset_peak
from orchestrator.training.process.random_state import kept_random_state
from orchestrator.training.solo.engine import SoloEngine

logger = logging.getLogger(__name__)
_Found = TypeVar("_Found")


class PackedEngine:
    """Trains any number of LoRA trials at once; see ``PackingEngine``.

    Reports are measured in the number format of training. A saved checkpoint is measured in float32, by the solo
    engine. A trial that cannot be packed is trained by the solo engine too, while the others wait.
    """

    def __init__(self, plan: EnginePlan, objective: Objective) -> None:
        """Read the data and the tokenizer; the base is loaded with the first trial that trains.

        Raises:
            AssetError: the model or the data is missing.
            DataError: the data breaks a rule.
            UserError: the device is not there.
        """
        self._plan = plan
        self._objective = objective
        self._device = choose_device(plan.device)
        self._solo = SoloEngine(plan, objective)
        bfloat16 = computes_in_bfloat16(plan.precision, self._device)
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        self._stepper: Stepper | None = None
        self._pack: Pack | None = None
        self._unfit: str | None = None  # why the base cannot be packed; None: it has not been tried
        self._seats: dict[int, SlotTrial] = {}
        self._headroom = Headroom()
        self._packs_turn = True  # or that of the trials that the solo engine trains, for one report of each
        self._closed = False

    def start(self, task: TrialTask) -> PackedRun:
        """Return the trial's run; it takes a slot with its first batch."""
        if self._closed:
            raise LoratoryError("the engine is closed")
        owner = Owner(sweep=self._plan.sweep_key, task=task)
        return PackedRun(self, task, TrialFolder(Path(self._plan.sweep_dir), task.number, SLOT_STATE, owner))

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Try which trials pack, and measure how many pay at once; see ``PackingEngine.capacity``."""

        def sized(kind: Kind) -> Capacity:
            if not measure:
                return Capacity(slots=most, why="")
            torch.set_num_threads(self._plan.threads)
            smallest, largest = ({**params, **kind} for params in (self._plan.smallest, self._plan.largest))
            plan = replace(self._plan, smallest=smallest, largest=largest)
            return Sizing(plan, self._objective, self._solo.data, self._device, self._dtype).choose(most)

        notes = check_adapters(self._plan, self._objective)
        capacity = capacity_for(self._plan.kinds, self._reason_not_to_pack, sized)
        if not capacity.packs:
            self._unfit = self._unfit or capacity.why
            self._drop_pack()  # each trial has a base of its own
        return replace(capacity, notes=notes)

    def _reason_not_to_pack(self, kind: Kind) -> str | None:
        """Return why trials of a kind cannot be trained with others, in words; None if they can.

        Raises:
            UserError: peft refuses the settings.
        """
        settings = TrialSettings.from_params({**self._plan.smallest, **kind})
        try:
            pack = self._open_pack(settings)
            pack.pack_layers(new_adapter(self._plan, self._objective, TrialTask(number=0, settings=settings, seed=0)))
        except CannotPackError as error:
            return str(error)
        except ValueError as error:  # peft refuses these settings, in any engine
            raise UserError(f"trials with {told(kind)} cannot be started: {reason_of(error)}") from error
        return None

    def step(self, wanted: Mapping[TrialRun, int]) -> dict[TrialRun, Report | DivergedError]:
        """Train every trial by a few batches; see ``PackingEngine.step``."""
        runs = {run: point for run, point in wanted.items() if isinstance(run, PackedRun)}
        assert len(runs) == len(wanted), "a run of another engine"
        admitted = self._headroom.admitted(runs, self._seats)
        for number in self._headroom.surplus(self._seats, admitted):
            self.leave(number)
        return self._tried(partial(self._step, admitted), admitted) or {}

    def _tried(self, attempt: Callable[[], _Found], runs: Collection[PackedRun]) -> _Found | None:
        """Return what comes of an attempt, or None if it failed and may go well another time.

        Then every seat is given up, for nobody knows what was written, and trials begin again from their newest
        reports: fewer of them, if memory ran out, or by the solo engine, if the base cannot be packed after all.
        """
        try:
            return attempt()
        except CannotPackError as error:  # what was tried with a few rows and no adapter did not show it
            self._unfit = str(error)
            logger.warning("the solo engine trains all trials from here on: %s", error)
        except (RuntimeError, MemoryError) as error:
            packed = {run.number for run in runs if run.alone is None}
            if not self._headroom.shrink(error, len(packed.union(self._seats))):
                raise
        # Not while the error is held: it holds what failed.
        for number in list(self._seats):
            self.leave(number)
        if self._pack is not None:
            self._pack.remove_all()
        free_memory(self._device)
        if self._unfit:
            self._drop_pack()
        return None

    def _step(self, runs: Mapping[PackedRun, int]) -> dict[TrialRun, Report | DivergedError]:
        found: dict[TrialRun, Report | DivergedError] = {}
        for run, point in runs.items():
            points = self._plan.timetable.of(run.task.settings)
            if point not in points:
                raise ValueError(f"one of the report points {points} is needed, got {point}")
            stored = run.folder.report(point)
            if stored is not None:
                found[run] = stored
        if found:
            return found
        torch.set_num_threads(self._plan.threads)
        seats = [seat for run in runs if (seat := self._seat(run)) is not None]
        alone = {run: run.alone for run in runs if run.alone is not None}
        if alone and not (seats and self._packs_turn):
            found |= {run: advanced(solo, runs[run]) for run, solo in alone.items()}
            self._packs_turn = True
        # A seat that was restored has reported again what an interrupted run did not.
        found |= {run: stored for run, point in runs.items() if (stored := run.folder.report(point)) is not None}
        if found or not seats:
            return found
        began = time.perf_counter()
        assert self._stepper is not None
        before = {seat: seat.tokens_trained for seat in seats}
        diverged = self._stepper.step(seats)
        spent, tokens = time.perf_counter() - began, {seat: seat.tokens_trained - before[seat] for seat in seats}
        for seat in seats:
            seat.train_s += spent * tokens[seat] / sum(tokens.values())
        whole = [seat for seat in seats if seat.task.number not in diverged]
        report(whole, self._stepper, self._device)
        for run, point in runs.items():
            if run.number in diverged:
                run.close()
                found[run] = diverged[run.number]
            elif (stored := run.folder.report(point)) is not None:
                found[run] = stored
        self._packs_turn = not found
        return found

    def measure(self, checkpoint: Path, task: TrialTask, split: str) -> Mapping[str, float]:
        """Measure a checkpoint, or its ``adapter`` folder, in float32 on a split."""
        return self._solo.measure(checkpoint, task, split)

    def finish(self, run: PackedRun, best_samples: int) -> Mapping[str, float]:
        """Measure a trial's best checkpoint on the shift sets, in its slot; see ``TrialRun.finish``.

        If there is no memory for that beside the others, they begin again from their newest reports.
        """
        found = self._tried(partial(self._finish, run, best_samples), [run])
        return self._finish(run, best_samples) if found is None else found

    def _finish(self, run: PackedRun, best_samples: int) -> Mapping[str, float]:
        data, began = self._solo.data, time.perf_counter()
        if not data.shift_sets:
            return {}
        if run.alone is None and not run.folder.has_adapter(best_samples):  # somebody removed it, or it is damaged
            self.leave(run.number)
            run.folder.rewind(best_samples)
            run.advance(best_samples)
        seat = self._seat(run)
        if seat is None:
            assert run.alone is not None
            return run.alone.finish(best_samples)
        assert self._stepper is not None
        seat.load_adapter_of(best_samples)
        found: dict[str, float] = {}
        for name in data.shift_sets:
            rows = data.split(name, run.task.settings.max_length)
            measured = self._stepper.measure([seat], rows)[0]
            found |= {f"shift/{name}/{metric}": value for metric, value in measured.items()}
        return {**found, "time/shift_s": time.perf_counter() - began}

    def holds(self, number: int) -> bool:
        """Whether a trial has a slot."""
        return number in self._seats

    def leave(self, number: int) -> None:
        """Free a trial's slot, if it has one."""
        seat = self._seats.pop(number, None)
        if seat is not None:
            assert self._stepper is not None
            self._stepper.forget(seat.slot)
            seat.leave()
            free_memory(self._device)  # what batches of many shapes left scattered: 5 GB after 24 trials, not 2

    def close(self) -> None:
        """Free the base and the data; calling it again does nothing."""
        for number in list(self._seats):
            self.leave(number)
        self._drop_pack()
        self._closed = True
        self._solo.close()
        free_memory(self._device)

    def _drop_pack(self) -> None:
        if self._stepper is not None:
            self._stepper.close()
        self._stepper = self._pack = None

    def _seat(self, run: PackedRun) -> SlotTrial | None:
        """Return the trial's seat, a new one if it has none; None if the solo engine trains it."""
        if run.alone is not None:
            return None
        if run.number not in self._seats:
            update_plan = UpdatePlan.create(self._solo.data, run.task, self._plan.timetable)
            try:
                pack = self._open_pack(run.task.settings)
                adapter = new_adapter(self._plan, self._objective, run.task)
                pack.pack_layers(adapter)
            except CannotPackError as error:
                logger.warning("trial %d is trained by the solo engine: %s", run.number, error)
                run.alone = self._solo.start(run.task)
                return None
            run.folder.clear_scratch()
            self._seats[run.number] = SlotTrial(pack, adapter, run.task, update_plan, run.folder)
        return self._seats[run.number]

    def _open_pack(self, settings: TrialSettings) -> Pack:
        require_packable(settings)  # or a base would be held for trials that have no use for it
        if self._plan.deepspeed is not None:
            raise CannotPackError("DeepSpeed trains one model in a process")
        if self._unfit is None:
            reset_peak(self._device)
            tokenizer = self._solo.data.tokenizer
            source, quantisation = self._plan.model, self._plan.quantisation
            rows = self._solo.data.train(settings)
            longest = max(settings.max_length, TrialSettings.from_params(self._plan.largest).max_length)
            reason = reason_not_to_pack(source, self._objective, self._device, tokenizer, rows, quantisation, longest)
            self._unfit = reason or ""
            if not reason:
                with kept_random_state():  # what the files lack is drawn
                    self._pack = Pack(source, self._objective, self._device, self._dtype, quantisation)
                self._stepper = Stepper(self._pack, self._objective, tokenizer, self._plan.threads)
        if self._pack is None:
            raise CannotPackError(f"{self._plan.model} cannot be packed: {self._unfit}")
        return self._pack
