"""The solo Trainer over FSDP2: each worker holds a part of all weights, gradients and optimizer states.

torch's ``fully_shard`` (FSDP2, arXiv 2304.11277) gathers the weights of a layer for its forward and backward.
Checkpoints hold whole tensors, so they load without workers, and with another number of them.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from typing_extensions import override

from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.training.checkpoints.trial_folder import ADAPTER
from orchestrator.training.model.adapters import Adapted, write_adapter
from orchestrator.training.optimiser import build_optimiser
from orchestrator.training.solo.trainer import TRAINABLE, SoloTrainer, TrainingInputs
from orchestrator.training.solo.workers import one_thread

if TYPE_CHECKING:
    from transformers import TrainerCallback


class ShardedTrainer(SoloTrainer):
    """Trainer of one trial in several workers; all of them call every method together."""

    def __init__(
        self,
        adapted: Adapted,
        inputs: TrainingInputs,
        task: TrialTask,
        folder: Path,
        callbacks: "list[TrainerCallback]",
    ) -> None:
        """Divide the weights among the workers; all workers have loaded and drawn the same ones."""
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        shard(adapted.model.get_base_model(), inputs.worker.world, device)
        super().__init__(adapted, inputs, task, folder, callbacks)

    @override
    def _build_optimiser(self, adapted: Adapted, settings: TrialSettings) -> torch.optim.AdamW:
        return whole_states(build_optimiser(adapted.model, settings))

    @override
    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Run one micro-batch; see ``SoloTrainer.training_step``."""
        self._seed_draws()
        return super().training_step(model, inputs, num_items_in_batch)

    @override
    def _divide_and_clip(self, units: torch.Tensor) -> torch.Tensor:
        factor = self._training_inputs.worker.world / units  # gradients are means over the workers
        for parameter in self._parameters:
            if parameter.grad is not None:
                _part(parameter.grad).mul_(factor)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.max_grad_norm)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    @override
    def measuring(self) -> AbstractContextManager[None]:
        return one_thread()

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the whole adapter as a PEFT folder, and the whole trainable parameters for resuming."""
        folder = Path(output_dir or str(self.args.output_dir))
        trained = {name: _whole(parameter).detach().cpu() for name, parameter in self._trainable()}
        model, config = self._adapted.model, self._adapted.model.peft_config["default"]
        buffers = {name: value for name, value in model.state_dict().items() if not isinstance(value, DTensor)}
        # peft calls the parameters in its state dict as the model does.
        state = get_peft_model_state_dict(model, state_dict={**buffers, **trained}, save_embedding_layers=False)
        base_name = str(model.get_base_model().name_or_path)
        write_adapter(folder / ADAPTER, state, config, base_name, self._adapted.subtracted)
        save_file({name: value.contiguous() for name, value in trained.items()}, folder / TRAINABLE)

    @override
    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        saved = load_file(Path(resume_from_checkpoint) / TRAINABLE)
        with torch.no_grad():
            for name, parameter in self._trainable():
                parameter.copy_(_divided(saved[name], parameter))


def shard(model: nn.Module, world: int, device: str) -> None:
    """Divide the weights of a model among the workers, layer by layer; the rest is gathered as one part.

    Args:
        model: a transformers model with an adapter, in the CPU's memory or on the device.
        world: number of workers, the members of the process group.
        device: ``cpu`` or ``cuda``.
    """
    mesh = init_device_mesh(device, (world,))
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def layers_of(model: nn.Module) -> Iterator[nn.Module]:
    """Yield the members of the outermost lists of modules: the layers of a transformer."""
    for child in model.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from layers_of(child)


def whole_states(adamw: torch.optim.AdamW) -> torch.optim.AdamW:
    """Make the optimizer's ``state_dict`` and ``load_state_dict`` use whole tensors; return the optimizer."""

    def gather(_: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        states = {key: {name: _whole(each) for name, each in own.items()} for key, own in state["state"].items()}
        return {**state, "state": states}

    def divide(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        states = {
            key: {name: _divided(each, parameters[key]) for name, each in own.items()}
            for key, own in state["state"].items()
        }
        return {**state, "state": states}

    adamw.register_state_dict_post_hook(gather)
    adamw.register_load_state_dict_pre_hook(divide)
    return adamw


def _part(value: torch.Tensor) -> torch.Tensor:
    """Return this worker's part of a tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def _whole(value: Any) -> Any:  # noqa: ANN401  (states are tensors and numbers)
    return value.full_tensor() if isinstance(value, DTensor) else value


def _divided(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a whole tensor, equal in all workers, divided like a parameter; a number of steps is returned as it is."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
