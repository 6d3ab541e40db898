"""The number of trials to train at once: as many as speed up training and fit into memory.

Speed and memory are measured in temporary packs with trials of the search space.
"""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch

from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.rows.encoded_rows import sizes_of
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE, TrialFolder
from orchestrator.training.context import EngineContext
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.engine import Capacity
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial
from orchestrator.training.packed.execution.stepper import Stepper
from orchestrator.training.packed.slots.adapter import new_adapter
from orchestrator.training.process.memory import available_mb, free_memory, out_of_memory, peak_mb, reset_peak

Kind: TypeAlias = Mapping[str, ParamValue]
"""The settings on which packing depends, such as the method."""
MIN_SPEEDUP = 1.1
"""Minimum factor on tokens per second to double the number of trials."""
BATCHES = 3
"""Number of timed batches per trial, after one untimed batch."""
MEMORY_SHARE = 0.8
"""Fraction of the free memory for trials; the rest is left to other processes."""

logger = logging.getLogger(__name__)


class _Measurement(NamedTuple):
    """Speed and memory of a pack; ``used_mb`` is its peak minus the memory used before, in MiB."""

    tokens_per_s: float
    used_mb: float


class Sizing:
    """Measures packs of a sweep's trials."""

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
            context: context of the sweep.
            dtype: number format of the frozen weights.
            smallest: parameters of the smallest trial in the search space.
            largest: parameters of the largest trial in the search space.
        """
        self._context = context
        self._device = context.device
        self._dtype = dtype
        self._smallest = smallest
        self._largest = largest

    def choose(self, most: int) -> Capacity:
        """Return the number of trials to train at once, at most ``most``.

        Speed is measured with the smallest trials, which gain most from packing; memory with the largest.
        """
        first = min(most, self._context.plan.threads if self._device == "cpu" else 1)
        slots, speed = grow_while_faster(first, most, self._rate)
        free_memory(self._device)
        slots, memory = shrink_to_fit(slots, available_mb(self._device), self._used_mb)
        return Capacity(slots=slots, why=f"{speed}; {memory}")

    def _rate(self, slots: int) -> float | None:
        """Return tokens per second, padding included, of the smallest trials; None if they do not fit."""
        measured = self._measure(slots, self._smallest, longest=False)
        return None if measured is None else measured.tokens_per_s

    def _used_mb(self, slots: int) -> float | None:
        """Return the memory of the largest trials with their longest rows, in MiB; None if they do not fit."""
        measured = self._measure(slots, self._largest, longest=True)
        return None if measured is None else measured.used_mb

    def _measure(self, slots: int, params: Mapping[str, ParamValue], *, longest: bool) -> _Measurement | None:
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
        return _Measurement(rate, peak_mb(self._device) - before_mb)

    def _tokens_per_s(self, slots: int, settings: TrialSettings, folder: Path, *, longest: bool) -> float:
        context, plan = self._context, self._context.plan
        pack = Pack(plan.model, context.objective, self._device, self._dtype, plan.quantisation)
        first = TrialTask(number=0, settings=settings, seed=0)
        adapter = new_adapter(plan, context.objective, first)
        update_plan = UpdatePlan.create(context.data, first, plan.timetable)
        if longest:
            sizes = sizes_of(update_plan.rows)
            rows = sorted(range(len(sizes)), key=lambda row: -sizes[row])
            update_plan = replace(update_plan, order=[rows[: settings.rows_per_update]] * len(update_plan.order))
        trials = [
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
                    warm, began = _tokens(trials), time.perf_counter()
                if any(trial.update == len(update_plan.order) for trial in trials):  # a trial may have fewer batches
                    break
                stepper.step(trials)
            if self._device != "cpu":
                torch.cuda.synchronize()
            return (_tokens(trials) - warm) / (time.perf_counter() - began)


def _tokens(trials: Sequence[SlotTrial]) -> int:
    return sum(trial.tokens_trained for trial in trials)


def grow_while_faster(first: int, most: int, rate: Callable[[int], float | None]) -> tuple[int, str]:
    """Double the number of trials while this speeds up training; return the number and the reason.

    Args:
        first: initial number.
        most: upper bound, at least ``first``.
        rate: returns tokens per second of a number of trials; None if they do not fit into memory.
    """
    slots, speed = first, rate(first)
    if speed is None:
        return slots, f"no memory for {slots}"
    while slots < most:
        more = min(2 * slots, most)
        faster = rate(more)
        if faster is None:
            return slots, f"measured {speed:,.0f} tokens/s, and no memory for {more} together"
        if faster < MIN_SPEEDUP * speed:
            return slots, f"measured {speed:,.0f} tokens/s, with {more} together {faster:,.0f}"
        slots, speed = more, faster
    return slots, f"the maximum; measured {speed:,.0f} tokens/s"


def shrink_to_fit(slots: int, free_mb: float, used_mb: Callable[[int], float | None]) -> tuple[int, str]:
    """Halve the number of trials until they fit into memory; return the number, at least one, and the reason.

    Args:
        slots: initial number.
        free_mb: free memory in MiB.
        used_mb: returns the memory of a number of the largest trials, in MiB; None if they do not fit.
    """
    while True:
        used = used_mb(slots)
        if used is not None and used <= MEMORY_SHARE * free_mb:
            return slots, f"with the largest configuration they need {used:,.0f} of {free_mb:,.0f} MiB"
        if slots == 1:
            return 1, f"one trial of the largest needs more than {MEMORY_SHARE:.0%} of {free_mb:,.0f} MiB"
        slots //= 2


def capacity_for(
    kinds: Sequence[Kind], reason_not_to_pack: Callable[[Kind], str | None], sized: Callable[[Kind], Capacity]
) -> Capacity:
    """Return the number of trials to train at once, and the kinds trained by the solo engine.

    Args:
        kinds: the kinds of trials in the search space; empty: all trials are of one kind.
        reason_not_to_pack: returns why a kind cannot be packed; None if it can.
        sized: returns the number of trials of a kind to train at once.
    """
    reasons = [(kind, reason_not_to_pack(kind)) for kind in kinds or ({},)]
    packing = [kind for kind, reason in reasons if reason is None]
    if not packing:
        return Capacity(slots=1, why=reasons[0][1] or "", packs=False)
    alone = tuple(f"trials with {describe_kind(kind)}, because {reason}" for kind, reason in reasons if reason)
    return replace(sized(packing[0]), alone=alone)


def describe_kind(kind: Kind) -> str:
    """Return a description of a kind for messages."""
    return " and ".join(f"{name} {str(value).lower()}" for name, value in kind.items()) or "these settings"
