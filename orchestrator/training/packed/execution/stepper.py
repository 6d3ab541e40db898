"""Training steps: one forward and one backward for all trials, and the optimizer updates completed by them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from orchestrator.core.errors import DivergedError
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.evaluation.generation.answers import Answer
from orchestrator.evaluation.measure import NOTHING, collated, make_batches, measure_models
from orchestrator.evaluation.thread_group import ThreadGroup
from orchestrator.objective.class_weights import training_losses
from orchestrator.objective.protocol import Example, LossOfSettings, Objective, objective_of
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.execution.slot_trial import SlotTrial, padded_tokens
from orchestrator.training.packed.execution.writing import Writer
from orchestrator.training.packed.layout.blocks import Block, batch_layout
from orchestrator.training.packed.masks.create import create_masks
from orchestrator.training.packed.slots.updates import SlotUpdate, apply_updates, drop_gradients, gradient_norms
from orchestrator.training.process.hardware import to_device
from orchestrator.training.process.loss_scale import diverged

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EVAL_TOKENS = {"cpu": 1024, "cuda": 65_536}
"""Padded tokens of an evaluation batch over all slots, by device type. On a CPU each thread takes a whole batch."""

TRAIN_TOKENS = {"cpu": 1024, "cuda": 65_536}
"""Padded tokens of one forward in training, by device type; a slot's own batch is never divided.

The memory saved for the backward grows with them. More tokens speed up a step much on a GPU and little on a CPU.
"""

SPREAD_TOKENS = 2 * TRAIN_TOKENS["cuda"]
"""Tokens of one forward on a device with every row padded to the longest, as attention with dropout computes it.

Without this limit one long row would determine the memory of all slots.
"""

STEP_TOKENS = 2048
"""Padded tokens of each trial in a step, at least; threads wait for each other after a step.

Longer steps wait less, because batches differ in length. But a new trial, or one after its report, waits for the end
of the step (benchmarks/history), and a device waits for the engine between steps.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Batch:
    """The next rows of some trials, collated, by ascending slot.

    Attributes:
        trials: with rows in the batch.
        counts: rows of ``inputs`` by trial.
        inputs: collated rows, on the host.
        tokens: tokens by trial, padded to the trial's own longest row.
    """

    trials: Sequence[SlotTrial]
    counts: list[int]
    inputs: Mapping[str, torch.Tensor]
    tokens: list[int]


class Stepper:
    """Trains and measures the trials of a pack together, divided over the threads of a CPU."""

    def __init__(
        self,
        pack: Pack,
        objective: Objective,
        tokenizer: "PreTrainedTokenizerBase",
        threads: int,
        tokens: int = STEP_TOKENS,
        *,
        spread_tokens: int = SPREAD_TOKENS,
    ) -> None:
        """Start the threads.

        Args:
            pack: the base model and its slots.
            objective: collates rows and computes their losses.
            tokenizer: for collation.
            threads: number of CPU threads; a device computes all trials together.
            tokens: of each trial in a step, at least. A CPU with one thread always takes one batch per step.
            spread_tokens: limit of a device, see ``SPREAD_TOKENS``.
        """
        self._pack = pack
        self._objective = objective
        self._tokenizer = tokenizer
        self._thread_group = ThreadGroup(threads if pack.device == "cpu" else 1)
        self._writer = Writer(pack, tokenizer, self._thread_group)
        self._tokens = tokens if self._thread_group.threads > 1 or pack.device != "cpu" else 1
        self._spread_tokens = math.inf if pack.device == "cpu" else spread_tokens
        self._sums: dict[int, torch.Tensor] = {}  # by slot, summed loss and units of the current update

    def step(self, trials: Sequence[SlotTrial]) -> dict[int, DivergedError]:
        """Train each trial on its next batches; return the errors of diverged trials by trial number.

        On a CPU every trial trains on about the same number of tokens, on a device on the same number of batches. The
        step ends for all trials when the first reaches a report point. The gradient of an update is the gradient of
        its mean loss over all its rows: the summed gradients of its batches, divided by the units of all batches,
        then clipped. A trial with a loss or gradient that is not finite makes no update; in float16 a gradient that
        overflows is dropped, and the trial continues with a smaller loss scale.
        """
        upcoming = self._upcoming(trials)
        parts = self._split(trials, lambda trial: sum(upcoming[trial]))
        results = self._thread_group.map(
            lambda part: self._train({trial: len(upcoming[trial]) for trial in part}), parts
        )
        return {number: error for diverged in results for number, error in diverged.items()}

    def _upcoming(self, trials: Sequence[SlotTrial]) -> dict[SlotTrial, list[int]]:
        """Return the tokens of each batch of each trial in a step.

        Threads balance their work by tokens. A device computes the more per launch the more trials have a batch in it,
        so all trials get the same number of batches.
        """
        upcoming = {trial: trial.upcoming_tokens(self._tokens) for trial in trials}
        if self._pack.device == "cpu":
            tokens = min(self._tokens, *map(sum, upcoming.values()))
            return {trial: trial.upcoming_tokens(tokens) for trial in trials}
        batches = min(map(len, upcoming.values()))
        return {trial: tokens[:batches] for trial, tokens in upcoming.items()}

    def backward(self, trials: Sequence[SlotTrial]) -> None:
        """Add the gradient of each trial's summed loss over its next batch to its slot's gradients."""

        def work(part: Sequence[SlotTrial]) -> None:
            for portion in self._portions(part):
                self._backward(self._collate(portion))

        self._thread_group.map(work, self._split(trials, lambda trial: padded_tokens(trial.next_batch())))

    def _split(self, trials: Sequence[SlotTrial], tokens: Callable[[SlotTrial], int]) -> list[list[SlotTrial]]:
        """Return the trials of each thread. Threads write to different slots, so none waits for another."""
        self._pack.set_training(training=True)
        return self._thread_group.split(sorted(trials, key=lambda trial: trial.slot), tokens)

    def _train(self, batches: dict[SlotTrial, int]) -> dict[int, DivergedError]:
        """Train each trial on its number of batches, or until it diverges; return the errors by trial number."""
        diverged = dict[int, DivergedError]()
        while batches:
            for portion in self._portions([*batches]):
                batch = self._collate(portion)
                self._backward(batch)
                diverged |= self._complete_updates(batch)
            batches = {trial: n - 1 for trial, n in batches.items() if n > 1 and trial.task.number not in diverged}
        return diverged

    def _portions(self, trials: Sequence[SlotTrial]) -> Iterator[list[SlotTrial]]:
        """Yield the trials in order, in portions for one forward, at least one trial each."""
        max_tokens = TRAIN_TOKENS[self._pack.device.partition(":")[0]]
        portion: list[SlotTrial] = []
        tokens = rows = longest = 0
        for trial in trials:
            batch = trial.next_batch()
            size = padded_tokens(batch)
            longest = max(longest, size // len(batch))
            if portion and (tokens + size > max_tokens or (rows + len(batch)) * longest > self._spread_tokens):
                yield portion
                portion, tokens, rows, longest = [], 0, 0, size // len(batch)
            portion.append(trial)
            tokens, rows = tokens + size, rows + len(batch)
        yield portion

    def _collate(self, trials: Sequence[SlotTrial]) -> _Batch:
        batches = [trial.next_batch() for trial in trials]
        examples = [row for rows in batches for row in rows]
        inputs = self._objective.collate(examples, self._tokenizer)
        sequences = inputs["input_ids"].shape[0] // len(examples)  # of a row: 2 for a pair of answers
        return _Batch(
            trials=trials,
            counts=[len(rows) * sequences for rows in batches],
            inputs=inputs,
            tokens=[padded_tokens(rows) for rows in batches],
        )

    def _complete_updates(self, batch: _Batch) -> dict[int, DivergedError]:
        """Count the batch, and make the completed updates; return the errors of diverged trials."""
        completing = [trial for trial in batch.trials if trial.completes_update]
        for trial, tokens in zip(batch.trials, batch.tokens, strict=True):
            trial.tokens_trained += tokens
            trial.batches += 1
        if not completing:
            return {}
        parameters, updates = self._pack.parameters, [trial.current_update() for trial in completing]
        sums_U2 = torch.stack([self._sums.pop(trial.slot) for trial in completing])
        units_U = torch.where(sums_U2[:, 1] > 0, sums_U2[:, 1], 1.0)
        norms_U = gradient_norms(parameters, updates)
        factors = [trial.loss_factor for trial in completing]
        if set(factors) != {1.0}:
            norms_U = norms_U / to_device(torch.tensor(factors), parameters.device)
        statistics = torch.stack([sums_U2[:, 0] / units_U, norms_U / units_U, units_U], dim=1).tolist()
        diverged_trials, finite_updates, scales = dict[int, DivergedError](), list[SlotUpdate](), list[float]()
        for trial, update, factor, (loss, norm, units) in zip(completing, updates, factors, statistics, strict=True):
            trial.loss = loss
            if math.isfinite(loss) and math.isfinite(norm):
                finite_updates.append(update)
                scales.append(min(1.0, trial.task.settings.max_grad_norm / (norm + 1e-6)) / units / factor)
                trial.make_update()
            elif math.isfinite(loss) and trial.skip_update():
                drop_gradients(parameters, trial.slot)
            else:
                number = trial.task.number
                diverged_trials[number] = diverged(loss, norm, trial.update + 1, trial.loss_scale)
        apply_updates(parameters, finite_updates, scales)
        return diverged_trials

    def _backward(self, collated: _Batch) -> None:
        pack, trials = self._pack, collated.trials
        batch = {name: to_device(value, pack.device) for name, value in collated.inputs.items()}
        layout = batch_layout(
            collated.inputs["attention_mask"],
            {trial.slot: count for trial, count in zip(trials, collated.counts, strict=True)},
            pack.slots,
            pack.dtype,
            device=pack.device,
        )
        masks = create_masks({trial.slot: trial.random for trial in trials}, pack.device)
        logits = pack.logits(batch, layout, masks)
        losses = {(trial.task.settings.label_smoothing, trial.update_plan.class_weights) for trial in trials}
        same_loss = len(losses) == 1 and not isinstance(self._objective, LossOfSettings)
        if same_loss and not logits.by_token and pack.device != "cpu":  # the losses of all rows at once
            gradient, loss_B, units_B = self._loss(logits.all_slots.detach(), batch, trials[0], 1.0)
            if pack.dtype is torch.float16:
                factors = [trial.loss_factor for trial in trials]
                factors_B = torch.tensor(factors).repeat_interleave(torch.tensor(collated.counts))
                gradient *= to_device(factors_B[:, None], pack.device)
            sums_G2 = layout.rows_by_block.pad(torch.stack([loss_B, units_B], dim=1), fill=0.0).sum(1)
        else:
            # Trial by trial: the float32 logits of a language-model head for all slots can exceed the model's size.
            gradient, sums = torch.empty_like(logits.all_slots), []
            blocks = zip(trials, layout.blocks, logits.by_slot(), logits.split(gradient), strict=True)
            for trial, block, slot_logits, slot_gradient in blocks:
                inputs = _block_inputs(batch, block, slot_logits)
                computed, loss_B, units_B = self._loss(slot_logits, inputs, trial, trial.loss_factor)
                slot_gradient.copy_(computed)
                sums.append(torch.stack([loss_B.sum(), units_B.sum()]))
            sums_G2 = torch.stack(sums)
        for trial, sums_2 in zip(trials, sums_G2.unbind(), strict=True):
            self._sums[trial.slot] = self._sums[trial.slot] + sums_2 if trial.slot in self._sums else sums_2
        torch.autograd.backward(logits.all_slots, gradient)

    def _loss(
        self, logits: torch.Tensor, batch: Mapping[str, torch.Tensor], trial: SlotTrial, factor: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the gradient of a trial's summed loss times ``factor``, ``loss_B`` and ``units_B``."""
        leaf, settings = logits.requires_grad_(), trial.task.settings
        objective, weights = objective_of(self._objective, settings), trial.update_plan.class_weights
        loss_B, units_B = training_losses(objective, leaf, batch, settings.label_smoothing, weights)
        if not loss_B.requires_grad:  # an objective may return plain zeros for rows without units
            return torch.zeros_like(leaf), loss_B, units_B
        [gradient] = torch.autograd.grad(factor * loss_B.sum(), leaf)
        return gradient, loss_B.detach(), units_B

    def measure(self, trials: Sequence[SlotTrial], examples: Sequence[Example]) -> list[Measurement]:
        """Return the measurement of each trial's adapter on the same rows; one forward computes all trials."""
        pack = self._pack
        slots = sorted(trial.slot for trial in trials)
        settings = {trial.slot: trial.task.settings for trial in trials}
        objectives = [objective_of(self._objective, settings[slot]) for slot in slots]
        pack.set_training(training=False)

        def logits_of(batch: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
            count = batch["input_ids"].shape[0]
            repeated = {name: value.repeat(len(slots), *[1] * (value.dim() - 1)) for name, value in batch.items()}
            rows = dict.fromkeys(slots, count)
            layout = batch_layout(repeated["attention_mask"], rows, pack.slots, pack.dtype, device=pack.device)
            return pack.logits(repeated, layout).by_slot()

        max_tokens = max(1, EVAL_TOKENS[pack.device.partition(":")[0]] // len(trials))
        parts = make_batches(examples, max_tokens)
        batch_of = collated(self._objective, examples, self._tokenizer, pack.device)
        measured = measure_models(logits_of, batch_of, objectives, examples, parts, self._thread_group)
        by_slot = dict(zip(slots, measured or [NOTHING] * len(slots), strict=True))
        return [by_slot[trial.slot] for trial in trials]

    def write(
        self,
        trials: Sequence[SlotTrial],
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        time_limit_s: float | None = None,
    ) -> list[list[Answer]]:
        """Return each trial's answers to the same prompts; one forward computes all trials. See ``Writer.write``."""
        by_slot = self._writer.write(sorted(trial.slot for trial in trials), prompts, max_new_tokens, time_limit_s)
        return [by_slot[trial.slot] for trial in trials]

    @property
    def stores_keys(self) -> bool:
        """Whether keys and values of the tokens read are stored while answers are written."""
        return bool(self._writer.cached)

    def forget(self, slot: int) -> None:
        """Drop the sums of a slot whose trial has left."""
        self._sums.pop(slot, None)

    def close(self) -> None:
        """End the threads."""
        self._thread_group.close()


def _block_inputs(batch: Mapping[str, torch.Tensor], block: Block, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return a block's rows of a batch. With logits by token, they are as long as if collated alone."""
    inputs = {name: value[block.rows] for name, value in batch.items()}
    if logits.dim() < 3:
        return inputs
    decoded = {name for name in inputs if name == "labels" or name.startswith("decoder_")}
    return {name: value[:, : logits.shape[1] if name in decoded else block.length] for name, value in inputs.items()}
