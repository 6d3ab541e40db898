"""``transformers.Trainer`` for one trial: the objective's loss, the exact gradient of a batch, our order of the rows.

Reports are written by a callback.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments
from typing_extensions import override

from orchestrator.core.methods.catalogue import ADALORA, FULL
from orchestrator.core.seeds import derive_seed
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.class_weights import training_losses
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.checkpoints.trial_folder import ADAPTER
from orchestrator.training.model.adapters import WEIGHTS, Adapted, merged, save_adapter
from orchestrator.training.optimiser import build_optimiser, decay_updates, warmup_updates
from orchestrator.training.process.loss_scale import LossScale, diverged
from orchestrator.training.solo.adalora import RankSchedule
from orchestrator.training.solo.packing import pack_rows
from orchestrator.training.solo.workers import ALONE, Worker

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase, TrainerCallback

TRAINABLE = "trainable.safetensors"
"""File of the trainable parameters in a checkpoint, by their names in the model."""
_RANKS = "ranks.safetensors"
"""The state of AdaLoRA's schedule."""
_SCALE = "loss_scale.json"
"""The state of the loss scale, in float16."""
_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
    "wsd": "warmup_stable_decay",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInputs:
    """The rows of one trial, and how to compute their loss.

    Attributes:
        objective: collates rows and computes their loss.
        tokenizer: for collation.
        rows: encoded training rows.
        order: indices into ``rows``, one list per update (optimizer step).
        packed_length: most tokens of a packed sequence; None: rows are padded.
        class_weights: weight of each class in the loss; None: all rows count alike.
        dtype: number format of the matrix products of the forward. All weights stay float32.
        worker: the process's place among the trial's workers; it trains on its share of each micro-batch.
    """

    objective: Objective
    tokenizer: "PreTrainedTokenizerBase"
    rows: Sequence[Example]
    order: Sequence[Sequence[int]]
    dtype: torch.dtype = torch.float32
    packed_length: int | None = None
    class_weights: tuple[float, ...] | None = None
    worker: Worker = ALONE


class SoloTrainer(Trainer):
    """Trainer of one trial. Its checkpoints hold ``adapter/`` and the state for resuming exactly."""

    loss_is_scaled_for_ga = True
    """Keeps Trainer from scaling the loss: an update divides its gradient once, by all its units."""

    def __init__(
        self,
        adapted: Adapted,
        inputs: TrainingInputs,
        task: TrialTask,
        folder: Path,
        callbacks: "list[TrainerCallback]",
    ) -> None:
        arguments = training_arguments(task, len(inputs.order), folder, adapted.model.device.type)
        rows: Any = inputs.rows  # Trainer needs only the length
        super().__init__(
            model=adapted.model,
            args=arguments,
            train_dataset=rows,
            callbacks=callbacks,
            optimizers=(self._build_optimiser(adapted, task.settings), None),
        )
        self.remove_callback(PrinterCallback)
        self.loss_scale = LossScale() if inputs.dtype is torch.float16 else None
        self._ranks = RankSchedule(adapted.model) if task.settings.method == ADALORA else None
        if self._ranks is not None:
            self.add_callback(self._ranks)
        self._adapted = adapted
        self._training_inputs = inputs
        self._settings: TrialSettings = task.settings
        self._parameters = [parameter for parameter in adapted.model.parameters() if parameter.requires_grad]
        self._seed, self._part = task.seed, 0
        self._loss_sum = torch.zeros((), device=adapted.model.device)
        self._units = torch.zeros((), device=adapted.model.device)

    def _build_optimiser(self, adapted: Adapted, settings: TrialSettings) -> torch.optim.AdamW:
        return build_optimiser(adapted.model, settings, adapted.heads)

    def get_train_dataloader(self) -> "DataLoader[Any]":
        """Return the batches of all updates as one epoch, in the planned order; resuming skips batches unread."""
        size, worker = self._settings.batch_size, self._training_inputs.worker
        batches = [
            worker.own(rows[at : at + size]) for rows in self._training_inputs.order for at in range(0, len(rows), size)
        ]
        rows: Any = self._training_inputs.rows  # any sequence is a map-style data set
        return DataLoader(
            rows,
            batch_sampler=batches,
            collate_fn=self._collate,
            generator=torch.Generator(),  # otherwise the loader draws a seed from the global generator
        )

    def _collate(self, examples: list[Example]) -> dict[str, Any]:
        inputs = self._training_inputs
        if inputs.packed_length is not None:
            return pack_rows(examples, inputs.packed_length)
        return {**inputs.objective.collate(examples, inputs.tokenizer)}

    @override
    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the sum of the losses of a micro-batch, not divided by its units, times the loss scale."""
        loss, logits = self._summed_loss(model, inputs)
        if self.loss_scale is not None:
            loss = loss * self.loss_scale.factor
        return (loss, {"logits": logits}) if return_outputs else loss

    def _summed_loss(
        self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sum of the losses and the logits of a micro-batch; add the loss and the units to the update."""
        logits = self._logits(model, inputs)
        given = self._training_inputs
        loss_sum_B, units_B = training_losses(
            given.objective, logits, inputs, self._settings.label_smoothing, given.class_weights
        )
        loss = loss_sum_B.sum()
        self._loss_sum += loss.detach()
        self._units += units_B.sum()
        return loss, logits

    def _logits(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        device = next(iter(inputs.values())).device.type
        with autocast(device, self._training_inputs.dtype):
            return forward(model, inputs)

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run one micro-batch; after the last of an update, divide the gradient by the update's units and clip it.

        This is the exact gradient of the mean loss. Trainer averages the means of the micro-batches instead, which is
        wrong if they hold different numbers of units.

        A gradient that overflows float16 is dropped: AdamW changes nothing in its step. The update counts as made.

        Raises:
            DivergedError: the loss or the gradient is not finite; the optimizer step is not made.
        """
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.gradient_state.sync_gradients:
            self._close_update()
        return loss

    def _seed_draws(self) -> None:
        """Give this micro-batch of one of several workers draws of its own, the same after a resume."""
        worker = self._training_inputs.worker
        if worker.world > 1:
            torch.manual_seed(derive_seed("worker", self._seed, self.state.global_step, self._part, worker.rank))
            self._part = 0 if self.accelerator.gradient_state.sync_gradients else self._part + 1

    def _close_update(self) -> None:
        loss_sum, units = self._training_inputs.worker.summed(torch.stack([self._loss_sum, self._units]))
        units = torch.where(units > 0, units, 1.0)
        norm = self._divide_and_clip(units)
        self.update_loss, self.update_norm = torch.stack([loss_sum / units, norm]).tolist()
        self._loss_sum.zero_()
        self._units.zero_()
        scale, finite = self.loss_scale, math.isfinite(self.update_norm)
        if not (math.isfinite(self.update_loss) and (finite or (scale is not None and scale.skip()))):
            raise diverged(self.update_loss, self.update_norm, self.state.global_step + 1, scale)
        if not finite:
            for parameter in self._parameters:
                parameter.grad = None
        elif scale is not None:
            scale.step_made()

    def _divide_and_clip(self, units: torch.Tensor) -> torch.Tensor:
        """Divide the gradient by the update's units and clip it; return its norm before clipping."""
        divisor = units if self.loss_scale is None else units * self.loss_scale.factor
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.div_(divisor)
        if self._ranks is not None:
            self._ranks.add_penalty()
        return torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.max_grad_norm)

    def measuring(self) -> AbstractContextManager[None]:
        """Prepare the model for measurements inside the block."""
        return merged(self.adapted_model)

    def close(self) -> None:
        """Free the resources of a back end; this class has none."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter as a PEFT folder, and the trainable parameters for resuming.

        With method ``full`` the adapter's file has all of them.
        """
        folder = Path(output_dir or str(self.args.output_dir))
        save_adapter(self._adapted, folder / ADAPTER)
        if self.loss_scale is not None:
            (folder / _SCALE).write_text(json.dumps(self.loss_scale.state()), encoding="utf-8")
        if self._settings.method == FULL:
            return
        state = {name: p.detach().cpu().contiguous() for name, p in self._trainable()}
        save_file(state, folder / TRAINABLE)
        if self._ranks is not None:
            save_file(self._ranks.state(), folder / _RANKS)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        """Load the trainable parameters and the loss scale written by ``save_model``."""
        if self.loss_scale is not None:
            stored = (Path(resume_from_checkpoint) / _SCALE).read_text(encoding="utf-8")
            self.loss_scale.load(json.loads(stored))
        if self._settings.method == FULL:
            from peft import set_peft_model_state_dict

            set_peft_model_state_dict(self._adapted.model, load_file(Path(resume_from_checkpoint) / ADAPTER / WEIGHTS))
            return
        saved = load_file(Path(resume_from_checkpoint) / TRAINABLE)
        with torch.no_grad():
            for name, parameter in self._trainable():
                parameter.copy_(saved[name])
        if self._ranks is not None:
            self._ranks.load_state(load_file(Path(resume_from_checkpoint) / _RANKS))

    def _trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, p) for name, p in self._adapted.model.named_parameters() if p.requires_grad]

    @property
    def adapted_model(self) -> "PeftModel":
        """The model in training."""
        return self._adapted.model

    @property
    def learning_rate(self) -> float:
        """The current learning rate of the adapter; other parameters may have multiples of it."""
        assert self.optimizer is not None
        group = self.optimizer.param_groups[0]
        return float(self._settings.learning_rate * group["lr"] / group["initial_lr"])


def autocast(device: str, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return a context whose matrix products are computed in a number format; float32 changes nothing."""
    return nullcontext() if dtype is torch.float32 else torch.autocast(device, dtype)


def training_arguments(task: TrialTask, updates: int, folder: Path, device: str) -> TrainingArguments:
    """Return Trainer's arguments, without its own clipping, logging, evaluation and saving."""
    settings = task.settings
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=updates,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        lr_scheduler_kwargs=_schedule_arguments(settings, updates),
        warmup_steps=warmup_updates(settings, updates),
        max_grad_norm=0.0,
        seed=task.seed,
        use_cpu=device == "cpu",
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    if arguments.device.type == "cuda":
        # Otherwise Trainer spreads each batch over all visible devices.
        arguments._n_gpu = 1
    return arguments


def _schedule_arguments(settings: TrialSettings, updates: int) -> dict[str, int | str] | None:
    """Return the arguments of transformers' schedule beyond the number of warm-up steps."""
    if settings.schedule != "wsd":
        return None
    return {"num_decay_steps": decay_updates(settings, updates), "decay_type": "linear"}
