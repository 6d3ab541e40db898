"""How many trials to train at once: as many as pay, and no more than there is memory for.

Both are measured, with trials as the sweep may make them, in packs that are thrown away.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from orchestrator.core.settings import TrialSettings
from orchestrator.core.space import ParamValue
from orchestrator.core.trial import TrialTask
from orchestrator.objective.protocol import Example
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, TrialFolder
from orchestrator.training.context import EngineContext
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.engine import Capacity
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.slots.adapter import new_adapter
from orchestrator.training.process.memory import available_mb, free_memory, out_of_memory, peak_mb, reset_peak

PAYS = 1.1
"""Twice the trials have to train this many times the tokens a second, or they are not worth their memory."""
BATCHES = 3
"""Batches of every trial that are timed, after one that is not."""
MEMORY_SHARE = 0.8
"""Share of the free memory that trials may take; the rest of the machine needs some."""

logger = logging.getLogger(__name__)


class _Trained(NamedTuple):
    """What a few batches of a pack came to; ``took_mb`` is its peak without what was there before, in MiB."""

    tokens_per_s: float
    took_mb: float


class Sizing:
    """Measures packs of trials of one sweep."""

    def __init__(
        self,
        context: EngineContext,
        dtype: torch.dtype,
        *,
        smallest: Mapping[str, ParamValue],
        largest: Mapping[str, ParamValue],
    ) -> None:
        """Measure nothing yet.

        Args:
            context: of the sweep.
            dtype: of the frozen weights.
            smallest: the parameters of the smallest trial in the search space.
            largest: the parameters of the largest one.
        """
        self._context = context
        self._device = context.device
        self._dtype = dtype
        self._smallest = smallest
        self._largest = largest

    def choose(self, most: int) -> Capacity:
        """Return how many trials to train at once, at most ``most``.

        Of the smallest, because those profit from company, as many as pay; of the largest, as many as fit.
        """
        first = min(most, self._context.plan.threads if self._device == "cpu" else 1)
        slots, paying = grow_while_faster(first, most, self._rate)
        free_memory(self._device)
        slots, fitting = shrink_to_fit(slots, available_mb(self._device), self._took_mb)
        return Capacity(slots=slots, why=f"{paying}; {fitting}")

    def _rate(self, slots: int) -> float | None:
        """Return tokens a second, padding included, of a pack of the smallest trials; None if they do not fit."""
        found = self._train(slots, self._smallest, longest=False)
        return None if found is None else found.tokens_per_s

    def _took_mb(self, slots: int) -> float | None:
        """Return the memory that a pack of the largest takes for their longest rows; None if they do not fit."""
        found = self._train(slots, self._largest, longest=True)
        return None if found is None else found.took_mb

    def _train(self, slots: int, params: Mapping[str, ParamValue], *, longest: bool) -> _Trained | None:
        free_memory(self._device)
        reset_peak(self._device)
        before_mb = peak_mb(self._device)
        try:
            with tempfile.TemporaryDirectory() as folder:
                settings = TrialSettings.from_params(params)
                rate = self._tokens_per_s(slots, settings, Path(folder), longest=longest)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            logger.info("no memory for %d trials: %s", slots, error)
            return None
        return _Trained(rate, peak_mb(self._device) - before_mb)

    def _tokens_per_s(self, slots: int, settings: TrialSettings, folder: Path, *, longest: bool) -> float:
        context, plan = self._context, self._context.plan
        pack = Pack(plan.model, context.objective, self._device, self._dtype, plan.quantisation)
        first = TrialTask(number=0, settings=settings, seed=0)
        adapter = new_adapter(plan, context.objective, first)
        update_plan = UpdatePlan.create(context.data, first, plan.timetable)
        if longest:
            rows = sorted(range(len(update_plan.rows)), key=lambda row: -_size(update_plan.rows[row]))
            update_plan = replace(update_plan, order=[rows[: settings.rows_per_update]] * len(update_plan.order))
        seats = [
            SlotTrial(
                pack,
                adapter,
                replace(first, number=number, seed=number),
                update_plan,
                TrialFolder(folder, 0, SLOT_STATE),
            )
            for number in range(slots)
        ]
        warm, began = 0, time.perf_counter()
        with closing(Stepper(pack, context.objective, context.data.tokenizer, plan.threads, tokens=1)) as stepper:
            for batch in range(BATCHES + 1):
                if batch == 1:
                    warm, began = _tokens(seats), time.perf_counter()
                if any(seat.update == len(update_plan.order) for seat in seats):  # a trial may be shorter than that
                    break
                stepper.step(seats)
            if self._device != "cpu":
                torch.cuda.synchronize()
            return (_tokens(seats) - warm) / (time.perf_counter() - began)


def _size(row: Example) -> int:
    """Return how much there is of a row: what is read, and what is to be written."""
    return sum(len(values) for values in row.values() if isinstance(values, Sequence))


def _tokens(seats: Sequence[SlotTrial]) -> int:
    return sum(seat.tokens_trained for seat in seats)


def grow_while_faster(first: int, most: int, rate: Callable[[int], float | None]) -> tuple[int, str]:
    """Double a number of trials for as long as that pays; return it, and why, in words.

    Args:
        first: to begin with.
        most: not to be exceeded; at least ``first``.
        rate: returns tokens a second of so many trials; None if they do not fit into memory.
    """
    slots, found = first, rate(first)
    if found is None:
        return slots, f"{slots} do not fit"
    while slots < most:
        more = min(2 * slots, most)
        wider = rate(more)
        if wider is None:
            return slots, f"{slots} train {found:,.0f} tokens/s, and {more} do not fit"
        if wider < PAYS * found:
            return slots, f"{slots} train {found:,.0f} tokens/s, and {more} {wider:,.0f}"
        slots, found = more, wider
    return slots, f"{slots}, the most there may be, train {found:,.0f} tokens/s"


def shrink_to_fit(slots: int, free_mb: float, took_mb: Callable[[int], float | None]) -> tuple[int, str]:
    """Halve a number of trials for as long as the largest do not fit; return it, at least one, and why, in words.

    Args:
        slots: to begin with.
        free_mb: memory that is free, in MiB.
        took_mb: returns what so many of the largest trials take, in MiB; None if they do not fit.
    """
    while True:
        took = took_mb(slots)
        if took is not None and took <= MEMORY_SHARE * free_mb:
            return slots, f"the largest take {took:,.0f} of {free_mb:,.0f} MiB"
        if slots == 1:
            return 1, f"one of the largest takes more than {MEMORY_SHARE:.0%} of {free_mb:,.0f} MiB"
        slots //= 2
