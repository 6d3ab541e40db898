"""The packed engine: LoRA trials in the slots of one pack, trained together."""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import TypeVar

import torch

from orchestrator.core.errors import DivergedError, UserError
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE
from orchestrator.training.context import EngineContext
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.engine import Capacity
from orchestrator.training.model.adapters import reason_of
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.reporting import MeasureGeneral, write_reports
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.limits.fitness import reason_not_to_pack
from orchestrator.training.packed.limits.headroom import Headroom
from orchestrator.training.packed.limits.sizing import Kind, Sizing, capacity_for, describe_kind
from orchestrator.training.packed.slots.adapter import new_adapter, require_packable
from orchestrator.training.process.memory import free_memory, reset_peak
from orchestrator.training.process.random_state import kept_random_state

logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class PackedEngine:
    """Trains any number of LoRA trials at once; refuses other trials with ``CannotPackError``.

    Methods take the numbers of trials. A trial gets a slot from ``place`` or ``place_all``, trains with ``train``, and
    frees the slot with ``leave``. Reports are measured in the number format of training.
    """

    def __init__(self, context: EngineContext, measure_general: MeasureGeneral) -> None:
        """Load nothing yet; the base model is loaded for the first trial with a slot."""
        self._context = context
        self._measure_general = measure_general
        self._stepper: Stepper | None = None
        self._pack: Pack | None = None
        self._unfit: str | None = None  # why the base model cannot be packed; empty: it can; None: not tried yet
        self._trials: dict[int, SlotTrial] = {}
        self._headroom = Headroom()

    def capacity(self, most: int, *, measure: bool) -> Capacity:
        """Try which kinds of trials pack, and measure how many to train at once; see ``PackingEngine.capacity``."""
        context, plan = self._context, self._context.plan

        def sized(kind: Kind) -> Capacity:
            if not measure:
                return Capacity(slots=most, why="")
            torch.set_num_threads(plan.threads)
            smallest, largest = {**plan.smallest, **kind}, {**plan.largest, **kind}
            return Sizing(context, context.dtype, smallest=smallest, largest=largest).choose(most)

        capacity = capacity_for(plan.kinds, self._reason_not_to_pack, sized)
        if not capacity.packs:
            self._unfit = self._unfit or capacity.why
            self._drop_pack()  # each solo trial loads its own base model
        return capacity

    def place_all(self, tasks: Collection[TrialTask]) -> dict[int, str]:
        """Give a slot to as many of the trials as memory allows; return the refused trials with reasons.

        Idle trials lose their slots if the others need them.
        """
        torch.set_num_threads(self._context.plan.threads)
        by_number = {task.number: task for task in tasks}
        while True:
            admitted = self._headroom.admitted(by_number, self._trials)
            for number in self._headroom.surplus(self._trials, admitted):
                self.leave(number)
            refused = self.attempt(partial(self._place_each, [by_number[number] for number in admitted]), admitted)
            if refused is not None:
                return refused

    def _place_each(self, tasks: Collection[TrialTask]) -> dict[int, str]:
        refused = {}
        for task in tasks:
            try:
                self.place(task)
            except CannotPackError as error:
                refused[task.number] = str(error)
        return refused

    def place(self, task: TrialTask) -> None:
        """Give a trial a slot, and restore its newest checkpoint; do nothing if it has a slot.

        Raises:
            CannotPackError: a pack cannot train this base model or this adapter.
            UserError: peft refuses the settings.
        """
        if task.number in self._trials:
            return
        self._context.add_references(task.settings)
        plan = UpdatePlan.create(self._context.data, task, self._context.plan.timetable)
        pack = self._open_pack(task.settings)
        adapter = new_adapter(self._context.plan, self._context.objective, task)
        folder = self._context.trial_folder(task, SLOT_STATE)
        folder.clear_scratch()
        self._trials[task.number] = SlotTrial(pack, adapter, task, plan, folder)

    def train(self, wanted: Mapping[int, int]) -> dict[int, Report | DivergedError]:
        """Train trials with a slot by a few batches; return the new reports and the divergences.

        A diverged trial loses its slot. After an out-of-memory error, or if a forward detects an unpackable base
        model, all trials lose their slots and nothing is returned.

        Args:
            wanted: the next report point of each trial.
        """
        return self.attempt(partial(self._train, wanted), wanted) or {}

    def _train(self, wanted: Mapping[int, int]) -> dict[int, Report | DivergedError]:
        assert self._stepper is not None
        torch.set_num_threads(self._context.plan.threads)
        trials = [self._trials[number] for number in wanted]
        began = time.perf_counter()
        before = {trial: trial.tokens_trained for trial in trials}
        diverged = self._stepper.step(trials)
        spent, tokens = time.perf_counter() - began, {trial: trial.tokens_trained - before[trial] for trial in trials}
        for trial in trials:
            trial.train_s += spent * tokens[trial] / sum(tokens.values())
        intact = [trial for trial in trials if trial.task.number not in diverged]
        write_reports(intact, self._stepper, self._context, self._measure_general)
        outcomes: dict[int, Report | DivergedError] = {}
        for number, point in wanted.items():
            if number in diverged:
                self.leave(number)
                outcomes[number] = diverged[number]
            elif (stored := self._trials[number].folder.report(point)) is not None:
                outcomes[number] = stored
        return outcomes

    def finish(self, number: int, best_samples: int) -> dict[str, float]:
        """Measure a checkpoint of a trial; the slot then holds this checkpoint and must be freed.

        See ``TrialRun.finish`` for the result.
        """
        folder = self._trials[number].folder
        splits = self._context.final_splits(folder, best_samples)
        return self._context.finals(folder, best_samples, self._measure_each(number, best_samples, splits))

    def _measure_each(self, number: int, samples: int, splits: Collection[str]) -> Iterator[tuple[str, Measurement]]:
        assert self._stepper is not None
        trial = self._trials[number]
        trial.load_adapter_of(samples)
        self._context.add_references(trial.task.settings)  # trials of another length have replaced the rows
        for name in splits:
            [measurement] = self._stepper.measure([trial], self._context.data.measured(name, trial.task))
            yield name, measurement

    def attempt(self, action: Callable[[], _Result], trials: Collection[int] = ()) -> _Result | None:
        """Return the result of an action, or None if it failed and may succeed when it is tried again.

        After an out-of-memory error at most half as many trials get a slot. After a ``CannotPackError`` no trial gets
        one. In both cases all slots are freed, because their tensors may be half written; trials resume from their
        newest checkpoints.

        Args:
            action: uses the pack, or memory beside it.
            trials: numbers of the trials in the action.
        """
        try:
            return action()
        except CannotPackError as error:  # the trial run had few rows and no adapter
            self._unfit = str(error)
            logger.warning("the solo engine trains all trials from here on: %s", error)
        except (RuntimeError, MemoryError) as error:
            if not self._headroom.shrink(error, len({*trials, *self._trials})):
                raise
        # Only after the handlers: the error refers to the tensors of the failed action.
        for number in list(self._trials):
            self.leave(number)
        if self._pack is not None:
            self._pack.remove_all()
        free_memory(self._context.device)
        if self._unfit:
            self._drop_pack()
        return None

    def holds(self, number: int) -> bool:
        """Return whether a trial has a slot."""
        return number in self._trials

    def leave(self, number: int) -> None:
        """Free a trial's slot, if it has one."""
        trial = self._trials.pop(number, None)
        if trial is not None:
            assert self._stepper is not None
            self._stepper.forget(trial.slot)
            trial.leave()
            # Batches of many shapes fragment the memory: 5 GB after 24 trials without this line, 2 GB with it.
            free_memory(self._context.device)

    def close(self) -> None:
        """Free the slots and the base model; calling it again does nothing."""
        for number in list(self._trials):
            self.leave(number)
        self._drop_pack()
        free_memory(self._context.device)

    def _drop_pack(self) -> None:
        if self._stepper is not None:
            self._stepper.close()
        self._stepper = self._pack = None

    def _reason_not_to_pack(self, kind: Kind) -> str | None:
        """Return why trials of a kind cannot be packed; None if they can.

        Raises:
            UserError: peft refuses the settings.
        """
        plan, objective = self._context.plan, self._context.objective
        settings = TrialSettings.from_params({**plan.smallest, **kind})
        try:
            pack = self._open_pack(settings)
            pack.pack_layers(new_adapter(plan, objective, TrialTask(number=0, settings=settings, seed=0)))
        except CannotPackError as error:
            return str(error)
        except ValueError as error:  # peft refuses these settings in both engines
            raise UserError(f"trials with {describe_kind(kind)} cannot be started: {reason_of(error)}") from error
        return None

    def _open_pack(self, settings: TrialSettings) -> Pack:
        """Return the pack; on the first call try whether the base model can be packed, and load it.

        Raises:
            CannotPackError: the adapter or the base model cannot be packed.
        """
        require_packable(settings)  # first: no base model is loaded for settings that never pack
        context, plan = self._context, self._context.plan
        if plan.deepspeed is not None:
            raise CannotPackError("DeepSpeed trains one model in a process")
        if self._unfit is None:
            reset_peak(context.device)
            self._unfit = self._reason_base_cannot_pack(settings) or ""
            if not self._unfit:
                with kept_random_state():  # weights missing in the model's files are drawn at random
                    self._pack = Pack(plan.model, context.objective, context.device, context.dtype, plan.quantisation)
                self._stepper = Stepper(self._pack, context.objective, context.data.tokenizer, plan.threads)
        if self._pack is None:
            raise CannotPackError(f"{plan.model} cannot be packed: {self._unfit}")
        return self._pack

    def _reason_base_cannot_pack(self, settings: TrialSettings) -> str | None:
        context, plan = self._context, self._context.plan
        return reason_not_to_pack(
            plan.model,
            context.objective,
            context.device,
            context.data.tokenizer,
            context.data.train(TrialTask(number=0, settings=settings, seed=0)),
            plan.quantisation,
            max_length=max(settings.max_length, TrialSettings.from_params(plan.largest).max_length),
        )
