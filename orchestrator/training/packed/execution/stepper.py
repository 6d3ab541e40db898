"""One forward and one backward for all slots that train, and the updates that they complete."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from orchestrator.core.errors import DivergedError
from orchestrator.evaluation.crew import Crew
from orchestrator.evaluation.measure import measure_models, portions
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial, padded
from orchestrator.training.packed.layout.blocks import Block, batch_layout
from orchestrator.training.packed.masks.host import create_masks
from orchestrator.training.packed.slots.updates import Update, make, norms
from orchestrator.training.process.hardware import to_device

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EVAL_TOKENS = {"cpu": 1024, "cuda": 65_536}
"""Padded tokens of an evaluation's batch over all slots, by device type; on a CPU a thread has one to itself."""

TRAIN_TOKENS = {"cpu": 1024, "cuda": 65_536}
"""Padded tokens of one forward in training, by device type; a slot's own batch is never divided.

What a forward saves for its backward grows with them. More make a step of a CPU little faster, and of a GPU much.
"""

SPREAD_TOKENS = 2 * TRAIN_TOKENS["cuda"]
"""Tokens of one forward of a device if every row were as long as the longest, as attention that drops something has it:
one long row of a neighbour would else decide everybody's memory.
"""

STEP_TOKENS = 2048
"""Padded tokens of each trial in a step, at least, after which threads wait for each other.

The fewer, the longer: batches of like lengths are short or long. But a trial that begins, or has reported, waits for
the step under way (benchmarks/RESULTS.md). A device waits for what the engine does between steps.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    """The next rows of some seats, by ascending slot, collated; ``tokens`` by seat, its own padding included."""

    seats: Sequence[SlotTrial]
    counts: list[int]
    inputs: Mapping[str, torch.Tensor]
    tokens: list[int]


class Stepper:
    """Trains the seats of a pack together, in as many parts as there are threads."""

    def __init__(
        self,
        pack: Pack,
        objective: Objective,
        tokenizer: "PreTrainedTokenizerBase",
        threads: int,
        tokens: int = STEP_TOKENS,
    ) -> None:
        """Begin with no seat.

        Args:
            pack: the base and its slots.
            objective: says how rows are collated, and their losses.
            tokenizer: for collation.
            threads: of the CPU; a device is given everything in one part.
            tokens: that a seat sees in a step, at least; 1: one batch, as ever with a CPU's one thread, which waits for
                nobody.
        """
        self._pack = pack
        self._objective = objective
        self._tokenizer = tokenizer
        self._crew = Crew(threads if pack.device == "cpu" else 1)
        self._tokens = tokens if self._crew.threads > 1 or pack.device != "cpu" else 1
        self._sums: dict[int, torch.Tensor] = {}

    def step(self, seats: Sequence[SlotTrial]) -> dict[int, DivergedError]:
        """Run each seat's next batches; return the trials whose loss or gradient is not finite, by their numbers.

        These are of as many tokens for every seat, on a device as many batches, and end for all of them where the first
        is to report. An update that is complete is made. Its gradient is that of its mean loss over all its rows: the
        summed gradients of its batches over all their units, then clipped. A trial that diverged makes no update.
        """
        ahead = self._ahead(seats)
        parts = self._parts(seats, lambda seat: sum(ahead[seat]))
        found = self._crew.each(lambda part: self._train({seat: len(ahead[seat]) for seat in part}), parts)
        return {number: error for diverged in found for number, error in diverged.items()}

    def _ahead(self, seats: Sequence[SlotTrial]) -> dict[SlotTrial, list[int]]:
        """Return the tokens of the batches that each seat runs in a step.

        Threads share a step by tokens. What a device is given is the larger the more seats have a batch in it, so that
        none is to run out of batches before the others.
        """
        ahead = {seat: seat.coming(self._tokens) for seat in seats}
        if self._pack.device == "cpu":
            most = min(self._tokens, *map(sum, ahead.values()))
            return {seat: seat.coming(most) for seat in seats}
        fewest = min(map(len, ahead.values()))
        return {seat: tokens[:fewest] for seat, tokens in ahead.items()}

    def backward(self, seats: Sequence[SlotTrial]) -> None:
        """Add each seat's gradient of its summed loss to what its slot has gathered."""

        def work(part: Sequence[SlotTrial]) -> None:
            for some in self._portions(part):
                self._backward(self._collated(some))

        self._crew.each(work, self._parts(seats, _tokens))

    def _parts(self, seats: Sequence[SlotTrial], tokens: Callable[[SlotTrial], int]) -> list[list[SlotTrial]]:
        """Split the seats over the threads. Slots share nothing that a thread writes, so none waits for another."""
        self._pack.make_ready(training=True)
        return self._crew.split(sorted(seats, key=lambda seat: seat.slot), tokens)

    def _train(self, left: dict[SlotTrial, int]) -> dict[int, DivergedError]:
        """Run so many batches of each of these seats, of one that diverges no more."""
        diverged = dict[int, DivergedError]()
        while left:
            for some in self._portions([*left]):
                batch = self._collated(some)
                self._backward(batch)
                diverged |= self._close_updates(batch)
            left = {seat: n - 1 for seat, n in left.items() if n > 1 and seat.task.number not in diverged}
        return diverged

    def _portions(self, seats: Sequence[SlotTrial]) -> Iterator[list[SlotTrial]]:
        """Yield the seats in their order, as many at a time as one forward may take, at least one."""
        most = TRAIN_TOKENS[self._pack.device.partition(":")[0]]
        spread = math.inf if self._pack.device == "cpu" else SPREAD_TOKENS
        portion: list[SlotTrial] = []
        tokens = rows = longest = 0
        for seat in seats:
            batch = seat.next_batch()
            size = padded(batch)
            longest = max(longest, size // len(batch))
            if portion and (tokens + size > most or (rows + len(batch)) * longest > spread):
                yield portion
                portion, tokens, rows, longest = [], 0, 0, size // len(batch)
            portion.append(seat)
            tokens, rows = tokens + size, rows + len(batch)
        yield portion

    def _collated(self, seats: Sequence[SlotTrial]) -> _Batch:
        rows = [seat.next_batch() for seat in seats]
        return _Batch(
            seats=seats,
            counts=[len(some) for some in rows],
            inputs=self._objective.collate([row for some in rows for row in some], self._tokenizer),
            tokens=[padded(some) for some in rows],
        )

    def _close_updates(self, batch: _Batch) -> dict[int, DivergedError]:
        closing = [seat for seat in batch.seats if seat.closes]
        for seat, tokens in zip(batch.seats, batch.tokens, strict=True):
            seat.tokens_trained += tokens
            seat.batches += 1
        if not closing:
            return {}
        stacks, dues = self._pack.stacks, [seat.under_way() for seat in closing]
        sums_S2 = torch.stack([self._sums.pop(seat.slot) for seat in closing])
        units_S = sums_S2[:, 1].clamp(min=1.0)
        found = torch.stack([sums_S2[:, 0] / units_S, norms(stacks, dues) / units_S, units_S], dim=1).tolist()
        diverged, made, scales = {}, list[Update](), list[float]()
        for seat, due, (loss, norm, units) in zip(closing, dues, found, strict=True):
            seat.loss = loss
            if math.isfinite(loss) and math.isfinite(norm):
                made.append(due)
                scales.append(min(1.0, seat.task.settings.max_grad_norm / (norm + 1e-6)) / units)
                seat.begin_next()
            else:
                diverged[seat.task.number] = DivergedError(
                    f"training loss {loss:.4g} with gradient norm {norm:.4g} at update {seat.update + 1}"
                )
        make(stacks, made, scales)
        return diverged

    def _backward(self, collated: _Batch) -> None:
        pack, seats = self._pack, collated.seats
        batch = {name: to_device(value, pack.device) for name, value in collated.inputs.items()}
        layout = batch_layout(
            collated.inputs["attention_mask"],
            {seat.slot: count for seat, count in zip(seats, collated.counts, strict=True)},
            pack.slots,
            pack.dtype,
            create_masks({seat.slot: seat.random for seat in seats}, pack.device),
            device=pack.device,
        )
        logits = pack.logits(batch, layout)
        alike = {seat.task.settings.label_smoothing for seat in seats}
        if len(alike) == 1 and not logits.by_token and pack.device != "cpu":  # all rows' losses at once
            gradient, loss_B, units_B = self._loss(logits.whole.detach(), batch, alike.pop())
            sums_G2 = layout.rows.spread(torch.stack([loss_B, units_B], dim=1), fill=0.0).sum(1)
        else:
            # Trial by trial: of a head that writes all float32 logits at once would take more than the model.
            gradient, sums = torch.empty_like(logits.whole), []
            given = zip(seats, layout.blocks, logits.parts(), logits.of_blocks(gradient), strict=True)
            for seat, block, own, into in given:
                smoothing = seat.task.settings.label_smoothing
                found, loss_B, units_B = self._loss(own, _own(batch, block, own), smoothing)
                into.copy_(found)
                sums.append(torch.stack([loss_B.sum(), units_B.sum()]))
            sums_G2 = torch.stack(sums)
        for seat, sums_2 in zip(seats, sums_G2.unbind(), strict=True):
            self._sums[seat.slot] = self._sums[seat.slot] + sums_2 if seat.slot in self._sums else sums_2
        logits.whole.backward(gradient)  # type: ignore[no-untyped-call]

    def _loss(
        self, logits: torch.Tensor, batch: Mapping[str, torch.Tensor], smoothing: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the gradient of the rows' summed loss, each row's loss, and over how many units."""
        leaf = logits.requires_grad_()
        loss_B, units_B = self._objective.losses(leaf, batch, smoothing)
        if not loss_B.requires_grad:  # of rows without a unit an objective may return plain zeros
            return torch.zeros_like(leaf), loss_B, units_B
        [gradient] = torch.autograd.grad(loss_B.sum(), leaf)
        return gradient, loss_B.detach(), units_B

    def measure(self, seats: Sequence[SlotTrial], examples: Sequence[Example]) -> list[dict[str, float]]:
        """Measure several slots' adapters on the same rows, in one forward per batch."""
        pack = self._pack
        slots = sorted(seat.slot for seat in seats)
        pack.make_ready(training=False)

        def logits_of(batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
            rows = batch["input_ids"].shape[0]
            repeated = {name: value.repeat(len(slots), *[1] * (value.dim() - 1)) for name, value in batch.items()}
            among = dict.fromkeys(slots, rows)
            layout = batch_layout(repeated["attention_mask"], among, pack.slots, pack.dtype, device=pack.device)
            return pack.logits(repeated, layout).parts()

        budget = max(1, EVAL_TOKENS[pack.device.partition(":")[0]] // len(seats))
        parts = portions(examples, budget)
        found = measure_models(logits_of, self._objective, examples, self._tokenizer, parts, self._crew, pack.device)
        by_slot = dict(zip(slots, found or [{}] * len(slots), strict=True))
        return [by_slot[seat.slot] for seat in seats]

    def close(self) -> None:
        """End the threads."""
        self._crew.close()

    def forget(self, slot: int) -> None:
        """Drop what was summed for a slot whose trial has left."""
        self._sums.pop(slot, None)


def _own(batch: Mapping[str, torch.Tensor], block: Block, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a block's rows of a batch, as long as if they had been collated by themselves."""
    own = {name: value[block.rows] for name, value in batch.items()}
    if logits.dim() < 3:
        return own
    written = {name for name in own if name == "labels" or name.startswith("decoder_")}
    return {name: value[:, : logits.shape[1] if name in written else block.length] for name, value in own.items()}


def _tokens(seat: SlotTrial) -> int:
    """Return the tokens of a seat's next batch, padding included."""
    return padded(seat.next_batch())
