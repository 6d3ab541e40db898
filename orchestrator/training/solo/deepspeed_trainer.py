"""The solo Trainer with DeepSpeed's engine below it: the same loop, losses and checkpoints, with ZeRO's memory.

Trainer's own way to DeepSpeed is not taken: there the engine steps within its backward, before an update's gradient can
be divided by its units and looked at, and its settings belong to the process instead of the trial.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from orchestrator.core.deepspeed import Config
from orchestrator.core.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.training.model.adapters import Adapted
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs
from orchestrator.training.solo.zero import SteppedByEngine, join_world, start_engine, stop_engine

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from transformers import TrainerCallback

_LEAST = 1e-6
"""Added to a norm before something is divided by it, as in ``torch.nn.utils.clip_grad_norm_``."""


class DeepSpeedTrainer(SoloTrainer):
    """One trial's Trainer. DeepSpeed gathers its gradients and keeps what AdamW works on."""

    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        adapted: Adapted,
        inputs: TrainingInputs,
        task: TrialTask,
        folder: Path,
        callbacks: "list[TrainerCallback]",
        config: Config,
    ) -> None:
        """Set up the trainer; the engine is started with training, when a checkpoint's parameters are in place.

        Raises:
            UserError: DeepSpeed is not installed.
        """
        self._device = adapted.model.device.type
        join_world(self._device)  # before Trainer imports DeepSpeed, which looks at its environment then
        with quiet_libraries():  # transformers misses a launcher
            super().__init__(adapted, inputs, task, folder, callbacks)
        self._config = config
        self._engine: DeepSpeedEngine | None = None

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:  # noqa: ARG002
        """Start the engine over model and AdamW, and return what Trainer steps."""
        if self._engine is None:
            computing = _Computing(self._adapted.model, bfloat16=self._training_inputs.bfloat16)
            self._engine = start_engine(computing, self.optimizer, self._config, self._settings, self._device)
            self.optimizer = SteppedByEngine(self.optimizer, self._engine)
        return self.optimizer

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """Run one batch; see ``SoloTrainer.training_step``. The optimiser's step is Trainer's next call."""
        assert self._engine is not None
        model.train()
        last = bool(self.accelerator.gradient_state.sync_gradients)
        self._engine.set_gradient_accumulation_boundary(last)
        loss: torch.Tensor = self.compute_loss(model, self._prepare_inputs(inputs))
        self._engine.backward(loss, scale_wrt_gas=False)
        loss = loss.detach()  # an error below would hold on to the graph, and the graph to the engine
        if last:
            self._close_update()
        return loss

    def close(self) -> None:
        """Stop the engine, if it was started."""
        engine, self._engine = self._engine, None
        if engine is not None:
            stop_engine(engine)

    def _logits(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:  # noqa: ARG002
        assert self._engine is not None
        logits: torch.Tensor = self._engine(inputs)
        return logits

    def _divide_and_clip(self, units: torch.Tensor) -> torch.Tensor:
        from deepspeed.utils import safe_get_full_grad, safe_set_full_grad

        found = {parameter: safe_get_full_grad(parameter) for parameter in self._parameters}
        gradients = {parameter: gradient / units for parameter, gradient in found.items() if gradient is not None}
        norm = torch.nn.utils.get_total_norm(gradients.values())
        share = (self._settings.max_grad_norm / (norm + _LEAST)).clamp(max=1.0)
        for parameter, gradient in gradients.items():
            safe_set_full_grad(parameter, gradient * share)
        return norm


class _Computing(torch.nn.Module):
    """What the engine's forward calls: there, because DeepSpeed ends an autocast that stands around its forward."""

    def __init__(self, model: torch.nn.Module, *, bfloat16: bool) -> None:
        super().__init__()
        self.model = model
        self._bfloat16 = bfloat16

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits of a batch."""
        device = next(iter(inputs.values())).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self._bfloat16):
            return forward(self.model, inputs)
