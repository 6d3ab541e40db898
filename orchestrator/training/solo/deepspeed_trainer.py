"""The solo Trainer over a DeepSpeed engine: the same loop, losses and checkpoints, with the memory use of ZeRO.

Trainer's own integration of DeepSpeed is not used. It steps inside the backward, before the gradient of an update can
be divided by its units and checked, and its settings are global to the process.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from typing_extensions import override

from orchestrator.core.methods.deepspeed import Config, partitions_weights
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.training.model.adapters import Adapted
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.solo.trainer import SoloTrainer, TrainingInputs, autocast
from orchestrator.training.solo.workers import one_thread
from orchestrator.training.solo.zero import SteppedByEngine, join_world, launch_variables, start_engine, stop_engine

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from transformers import TrainerCallback

_LEAST = 1e-6
"""Added to a norm before a division by it, as in ``torch.nn.utils.clip_grad_norm_``."""


class DeepSpeedTrainer(SoloTrainer):
    """Trainer of one trial; DeepSpeed holds the gradients and the parameters of AdamW.

    Attributes:
        engine: DeepSpeed's engine; None before the training and after ``close``.
    """

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
        """Join the process group; the engine starts with training, after the parameters of a checkpoint are loaded.

        Raises:
            UserError: DeepSpeed is not installed.
        """
        self._device = adapted.model.device.type
        join_world(self._device)  # first: DeepSpeed reads the environment when Trainer imports it
        with quiet_libraries():  # transformers warns about a missing launcher
            super().__init__(adapted, inputs, task, folder, callbacks)
        self._config = config
        self.engine: DeepSpeedEngine | None = None

    @override
    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Start the engine over the model and AdamW; return the optimizer for Trainer."""
        if self.engine is None:
            model_in_format = _AutocastModel(self._adapted.model, self._training_inputs.dtype)
            self.engine = start_engine(model_in_format, self.optimizer, self._config, self._settings, self._device)
            self.optimizer = SteppedByEngine(self.optimizer, self.engine)
        return self.optimizer

    @override
    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run one micro-batch; see ``SoloTrainer.training_step``. Trainer makes the optimizer step afterwards."""
        assert self.engine is not None
        last = bool(self.accelerator.gradient_state.sync_gradients)
        self._seed_draws()
        model.train()
        self.engine.set_gradient_accumulation_boundary(last)
        with self._rank_known():
            # No name may hold the graph: an error below would keep it alive, and with it the engine.
            loss = self._summed_loss(model, self._prepare_inputs(inputs))[0]
            self.engine.backward(loss, scale_wrt_gas=False)
            loss = loss.detach()
            if last:
                self._close_update()
        return loss

    @override
    def measuring(self) -> AbstractContextManager[None]:
        return self._measuring_divided() if partitions_weights(self._config) else super().measuring()

    @contextmanager
    def _measuring_divided(self) -> Iterator[None]:
        with self._rank_known(), one_thread():
            yield

    def _rank_known(self) -> AbstractContextManager[None]:
        """Set the variables of a launcher, which stage 3 reads in every forward; accelerate must not see them."""
        return launch_variables(self._device) if partitions_weights(self._config) else nullcontext()

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the whole adapter; see ``SoloTrainer.save_model``."""
        from deepspeed.runtime.zero import GatheredParameters

        with self._rank_known(), GatheredParameters(self._parameters, enabled=partitions_weights(self._config)):
            super().save_model(output_dir, _internal_call)

    def close(self) -> None:
        """Stop the engine, if it was started."""
        engine, self.engine = self.engine, None
        if engine is not None:
            stop_engine(engine)

    @override
    def _logits(self, model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        assert self.engine is not None
        logits: torch.Tensor = self.engine(inputs)
        return logits

    def _divide_and_clip(self, units: torch.Tensor) -> torch.Tensor:
        from deepspeed.utils import safe_get_full_grad, safe_set_full_grad

        means = {parameter: safe_get_full_grad(parameter) for parameter in self._parameters}  # over the workers
        factor = self._training_inputs.worker.world / units
        gradients = {parameter: gradient * factor for parameter, gradient in means.items() if gradient is not None}
        norm = torch.nn.utils.get_total_norm(gradients.values())
        factor = (self._settings.max_grad_norm / (norm + _LEAST)).clamp(max=1.0)
        for parameter, gradient in gradients.items():
            safe_set_full_grad(parameter, gradient * factor)
        return norm


class _AutocastModel(torch.nn.Module):
    """The model for the engine, with autocast inside: DeepSpeed disables an autocast around its forward."""

    def __init__(self, model: torch.nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self._dtype = dtype

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits of a micro-batch."""
        device = next(iter(inputs.values())).device.type
        with autocast(device, self._dtype):
            return forward(self.model, inputs)
