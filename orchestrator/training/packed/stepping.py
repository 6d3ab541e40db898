"""One forward and one backward for all slots that train, and the updates that they complete."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from orchestrator.core.errors import DivergedError
from orchestrator.evaluation.measure import measure_models
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.packed.layout import lay_out
from orchestrator.training.packed.pack import Pack

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from orchestrator.training.packed.seat import Seat

EVAL_TOKENS = {"cpu": 2048, "cuda": 65_536}
"""Padded tokens of an evaluation's batch over all slots, by device type."""


class Stepper:
    """Trains the seats of a pack together."""

    def __init__(self, pack: Pack, objective: Objective, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._pack = pack
        self._objective = objective
        self._tokenizer = tokenizer
        self._sums: dict[int, torch.Tensor] = {}

    def step(self, seats: "Sequence[Seat]") -> dict[int, DivergedError]:
        """Run each seat's next batch; return the trials whose loss or gradient is not finite, by their numbers.

        An update that is complete is made. Its gradient is that of its mean loss over all its rows: the summed
        gradients of its batches over all their units, then clipped. A trial that diverged makes no update.
        """
        seats = sorted(seats, key=lambda seat: seat.slot)
        self._pack.model.train()
        self.backward(seats)
        closing = [seat for seat in seats if seat.closes]
        for seat in seats:
            seat.batches += 1
        if not closing:
            return {}
        norms = torch.stack([_norm([*seat.gradients().values()]) for seat in closing])
        sums_S2 = torch.stack([self._sums.pop(seat.slot) for seat in closing])
        units_S = sums_S2[:, 1].clamp(min=1.0)
        found = torch.stack([sums_S2[:, 0] / units_S, norms / units_S, units_S], dim=1).tolist()
        diverged = {}
        for seat, (loss, norm, units) in zip(closing, found, strict=True):
            seat.loss = loss
            if math.isfinite(loss) and math.isfinite(norm):
                clip = min(1.0, seat.task.settings.max_grad_norm / (norm + 1e-6))
                torch._foreach_mul_([*seat.gradients().values()], clip / units)
                seat.close_update()
            else:
                diverged[seat.task.number] = DivergedError(
                    f"training loss {loss:.4g} with gradient norm {norm:.4g} at update {seat.update + 1}"
                )
        return diverged

    def backward(self, seats: "Sequence[Seat]") -> None:
        """Add each seat's gradient of its summed loss to what its slot has gathered."""
        pack, objective = self._pack, self._objective
        rows = {seat.slot: seat.next_batch() for seat in seats}
        examples = [example for part in rows.values() for example in part]
        collated = objective.collate(examples, self._tokenizer)
        batch = {name: value.to(pack.device) for name, value in collated.items()}
        layout = lay_out(
            batch["attention_mask"],
            {slot: len(part) for slot, part in rows.items()},
            pack.slots,
            pack.dtype,
            {seat.slot: seat.random for seat in seats},
        )
        logits = pack.logits(batch, layout)
        total = torch.zeros((), device=pack.device)
        for smoothing in {seat.task.settings.label_smoothing for seat in seats}:
            alike = [
                (seat, block)
                for seat, block in zip(seats, layout.blocks, strict=True)
                if seat.task.settings.label_smoothing == smoothing
            ]
            index = torch.cat([torch.arange(block.rows.start, block.rows.stop) for _, block in alike]).to(pack.device)
            everyone = len(alike) == len(seats)
            part = batch if everyone else {name: value[index] for name, value in batch.items()}
            loss_B, units_B = objective.losses(logits if everyone else logits[index], part, smoothing)
            total = total + loss_B.sum()
            sizes = [block.num_rows for _, block in alike]
            sums = zip(torch.split(loss_B.detach(), sizes), torch.split(units_B, sizes), strict=True)
            for (seat, _), (loss, units) in zip(alike, sums, strict=True):
                self._sums[seat.slot] = self._sums.get(seat.slot, 0.0) + torch.stack([loss.sum(), units.sum()])
        total.backward()  # type: ignore[no-untyped-call]

    def measure(self, seats: "Sequence[Seat]", examples: Sequence[Example]) -> list[dict[str, float]]:
        """Measure several slots' adapters on the same rows, in one forward per batch."""
        pack = self._pack
        seats_in_order = sorted(seats, key=lambda seat: seat.slot)
        pack.model.eval()

        def logits_of(batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
            rows = batch["input_ids"].shape[0]
            repeated = {
                name: value.repeat(len(seats), *(1,) * (value.dim() - 1))
                for name, value in batch.items()
                if name != "labels"
            }
            layout = lay_out(
                repeated["attention_mask"], {seat.slot: rows for seat in seats_in_order}, pack.slots, pack.dtype
            )
            return [*torch.split(pack.logits(repeated, layout), rows)]

        found = measure_models(
            logits_of,
            len(seats),
            self._objective,
            examples,
            self._tokenizer,
            device=pack.device,
            budget=max(1, EVAL_TOKENS[pack.device.partition(":")[0]] // len(seats)),
        )
        by_slot = {seat.slot: measured for seat, measured in zip(seats_in_order, found, strict=True)}
        return [by_slot[seat.slot] for seat in seats]

    def forget(self, slot: int) -> None:
        """Drop what was summed for a slot whose trial has left."""
        self._sums.pop(slot, None)


def _norm(gradients: list[torch.Tensor]) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm
