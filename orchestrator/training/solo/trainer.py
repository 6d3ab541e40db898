"""``transformers.Trainer`` for one trial: the objective's loss, an exact full-batch gradient, and our data order.

It knows nothing of reports; what is done at report points comes in as a callback.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

from orchestrator.core.errors import DivergedError
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.checkpoints.trial_folder import ADAPTER
from orchestrator.training.model.adapters import Adapted, save_adapter
from orchestrator.training.optimiser import build_optimiser

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase, TrainerCallback

_TRAINABLE = "trainable.safetensors"
_SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingInputs:
    """What a trial is trained on.

    Attributes:
        objective: collates rows and computes their loss.
        tokenizer: for collation.
        rows: encoded training rows.
        order: indices into ``rows``, one list per optimiser update.
        bfloat16: compute the forward's matrix products in bfloat16. All weights stay float32, so that what is
            evaluated in float32 is what was trained.
    """

    objective: Objective
    tokenizer: "PreTrainedTokenizerBase"
    rows: Sequence[Example]
    order: Sequence[Sequence[int]]
    bfloat16: bool


class SoloTrainer(Trainer):
    """One trial's Trainer. Its checkpoints hold ``adapter/`` and the state that training resumes from, exactly."""

    loss_is_scaled_for_ga = True
    """Tells Trainer to leave the loss alone: gradients are divided by the whole update's units, once."""

    def __init__(
        self,
        adapted: Adapted,
        inputs: TrainingInputs,
        task: TrialTask,
        folder: Path,
        callbacks: "list[TrainerCallback]",
    ) -> None:
        arguments = training_arguments(task, len(inputs.order), folder, adapted.model.device.type)
        rows: Any = inputs.rows  # a sequence serves: Trainer asks for its length alone
        super().__init__(
            model=adapted.model,
            args=arguments,
            train_dataset=rows,
            callbacks=callbacks,
            optimizers=(build_optimiser(adapted.model, task.settings), None),
        )
        self.remove_callback(PrinterCallback)
        self._adapted = adapted
        self._training_inputs = inputs
        self._settings: TrialSettings = task.settings
        self._parameters = [parameter for parameter in adapted.model.parameters() if parameter.requires_grad]
        self._loss_sum = torch.zeros((), device=adapted.model.device)
        self._units = torch.zeros((), device=adapted.model.device)

    def get_train_dataloader(self) -> "DataLoader[Any]":
        """Return the whole run as one epoch, in the planned order; resuming skips what was seen without reading it."""
        size = self._settings.batch_size
        batches = [
            list(rows[at : at + size]) for rows in self._training_inputs.order for at in range(0, len(rows), size)
        ]
        return DataLoader(
            self._training_inputs.rows,  # type: ignore[arg-type]  # a list is all that a map-style data set needs
            batch_sampler=batches,
            collate_fn=partial(self._training_inputs.objective.collate, tokenizer=self._training_inputs.tokenizer),
            generator=torch.Generator(),  # or the loader would draw a seed from the trial's own random state
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,  # noqa: ARG002  (it counts labels; objectives count units)
    ) -> Any:  # noqa: ANN401  (Trainer's signature)
        """Return the summed loss of a batch, not yet divided by its units."""
        logits = self._logits(model, inputs)
        loss_sum_B, units_B = self._training_inputs.objective.losses(logits, inputs, self._settings.label_smoothing)
        loss = loss_sum_B.sum()
        self._loss_sum += loss.detach()
        self._units += units_B.sum()
        return (loss, {"logits": logits}) if return_outputs else loss

    def _logits(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        device = next(iter(inputs.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._training_inputs.bfloat16):
            return forward(model, inputs)

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run one batch; after an update's last one, make the gradient that of the update's mean loss, and clip it.

        Trainer divides each batch's mean by the number of batches, or, for models that take loss arguments, not at all:
        one is wrong if batches hold different numbers of units, the other always. Dividing the sum of all gradients by
        the sum of all units is exact.

        Raises:
            DivergedError: the loss or the gradient is not finite; the update is not made.
        """
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.gradient_state.sync_gradients:
            self._close_update()
        return loss

    def _close_update(self) -> None:
        units = self._units.clamp(min=1.0)
        norm = self._divide_and_clip(units)
        self.update_loss, self.update_norm = torch.stack([self._loss_sum / units, norm]).tolist()
        self._loss_sum.zero_()
        self._units.zero_()
        if not (math.isfinite(self.update_loss) and math.isfinite(self.update_norm)):
            raise DivergedError(
                f"training loss {self.update_loss:.4g} with gradient norm {self.update_norm:.4g} "
                f"at update {self.state.global_step + 1}"
            )

    def _divide_and_clip(self, units: torch.Tensor) -> torch.Tensor:
        """Divide the gradient by the update's units, and return its norm as it was before it was clipped."""
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.div_(units)
        return torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.max_grad_norm)

    def close(self) -> None:
        """Free what a back end holds beside model and optimiser: nothing here."""

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the adapter as anyone can load it, and the trainable parameters as they are."""
        folder = Path(output_dir or str(self.args.output_dir))
        save_adapter(self._adapted, folder / ADAPTER)
        state = {name: p.detach().cpu().contiguous() for name, p in self._trainable()}
        save_file(state, folder / _TRAINABLE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:  # noqa: ARG002
        """Load what ``save_model`` wrote (Trainer's own looks for the adapter in the checkpoint's root)."""
        saved = load_file(Path(resume_from_checkpoint) / _TRAINABLE)
        with torch.no_grad():
            for name, parameter in self._trainable():
                parameter.copy_(saved[name])

    def _trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, p) for name, p in self._adapted.model.named_parameters() if p.requires_grad]

    @property
    def adapted_model(self) -> "PeftModel":
        """The model that is trained."""
        return self._adapted.model

    @property
    def learning_rate(self) -> float:
        """The adapter's learning rate by the schedule, whatever multiples of it other parameters have."""
        assert self.optimizer is not None
        group = self.optimizer.param_groups[0]
        return float(self._settings.learning_rate * group["lr"] / group["initial_lr"])


def training_arguments(task: TrialTask, updates: int, folder: Path, device: str) -> TrainingArguments:
    """Return Trainer's arguments. It clips, logs, evaluates and decides to save nothing by itself."""
    settings = task.settings
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=updates,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=_SCHEDULES[settings.schedule],
        warmup_steps=math.ceil(settings.warmup_ratio * updates),
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
        # Where several devices are visible, Trainer would spread each batch over all of them.
        arguments._n_gpu = 1
    return arguments
