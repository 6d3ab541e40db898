"""DeepSpeed's engine, without a launcher. A trial of one process has a process group of its own, without an open port.

DeepSpeed is imported inside the functions, because the import takes seconds.
"""

import atexit
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import psutil
import torch
import torch.distributed as dist
from typing_extensions import override

from orchestrator.core.errors import LoratoryError, UserError
from orchestrator.core.methods.deepspeed import ZERO, Config, missing_package
from orchestrator.core.system.environment import environment
from orchestrator.core.trials.settings import TrialSettings

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

_WORKERS = "workers"
"""Key of the states of all workers."""
_SHARED_MEMORY_OP = "deepspeed_shm_comm"


def join_world(device: str) -> None:
    """Join the process group of the trial's workers; create a group of this one process if there is none.

    The group lasts until the process ends: DeepSpeed keeps it in its modules and cannot change to another one.

    Args:
        device: ``cpu`` or ``cuda``.

    Raises:
        UserError: DeepSpeed is not installed.
        LoratoryError: DeepSpeed was started for another device in this process.
    """
    missing = missing_package()
    if missing:
        raise UserError(f"training.deepspeed: {missing}")
    with launch_variables(device):
        import deepspeed

        accelerator = deepspeed.accelerator.get_accelerator()
        if accelerator.device_name() != device:
            raise LoratoryError(f"this process uses DeepSpeed on {accelerator.device_name()}, not on {device}")
        # Compiling it needs a compiler and half a minute, and one process does not use it.
        deepspeed.ops.__compatible_ops__[_SHARED_MEMORY_OP] = False
        if not torch.distributed.is_initialized():
            backend = accelerator.communication_backend_name()
            # A store in memory opens no port.
            store = torch.distributed.HashStore()  # type: ignore[attr-defined]  # not in the stubs
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
            atexit.register(torch.distributed.destroy_process_group)
        deepspeed.init_distributed(verbose=False)


def start_engine(
    model: torch.nn.Module, adamw: torch.optim.Optimizer, config: Config, settings: TrialSettings, device: str
) -> "DeepSpeedEngine":
    """Return an engine over a model's trainable parameters; ``adamw`` then works on the engine's flat copies.

    The engine neither clips nor scales the gradient; the trainer does so before the step.

    Args:
        model: called by the engine's forward.
        adamw: AdamW, as for training without DeepSpeed.
        config: DeepSpeed's configuration of memory.
        settings: settings of the trial.
        device: ``cpu`` or ``cuda``.
    """
    import deepspeed

    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    zero = {"reduce_bucket_size": max(trainable, 2), **config[ZERO]}  # the default would take 2 GB
    arguments = {
        "train_micro_batch_size_per_gpu": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": 0.0,
        "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's Adam for CPUs must be compiled; torch's need not
        "zero_allow_untested_optimizer": True,  # torch's AdamW
        ZERO: zero,
    }
    with launch_variables(device):
        engine, *_ = deepspeed.initialize(model=model, optimizer=adamw, config=arguments)
    return engine


def stop_engine(engine: "DeepSpeedEngine") -> None:
    """Remove the engine's hooks from the model, and its references to the model."""
    engine.destroy()


class SteppedByEngine(torch.optim.Optimizer):
    """AdamW for Trainer, with its groups, states and learning rates, but with the engine's step.

    Groups and states belong to the engine's flat copies. The result of ``state_dict`` fits every engine with the same
    groups and the same number of workers.
    """

    def __init__(self, adamw: torch.optim.Optimizer, engine: "DeepSpeedEngine") -> None:
        self._adamw = adamw
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        """Return AdamW's current ``param_groups``, ``state`` or ``defaults``; loading a state makes new groups."""
        if name not in {"param_groups", "state", "defaults"}:
            raise AttributeError(name)
        return getattr(self._adamw, name)

    @override
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # torch has overloads
        """Make the engine's optimizer step, which also clears the gradients."""
        self._engine.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing; the engine's step clears the gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return AdamW's state, for several workers the states of all: each has a part of the flat parameters."""
        own = self._own_state()
        if dist.get_world_size() == 1:
            return own
        states: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(states, own)
        return {_WORKERS: states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load AdamW's state.

        Raises:
            UserError: the state is of another number of workers.
        """
        states = state_dict.get(_WORKERS, [state_dict])
        if len(states) != dist.get_world_size():
            raise UserError(
                f"resources.workers_per_trial: {len(states)} is needed to resume this trial with DeepSpeed, "
                f"got {dist.get_world_size()}"
            )
        own = states[dist.get_rank()]
        flat = self._flat()
        if flat is None:
            self._adamw.load_state_dict(own)
            return
        for parameter, state in zip(flat, own["state"], strict=True):
            self._adamw.state[parameter] = state
        for group, saved in zip(self._adamw.param_groups, own["param_groups"], strict=True):
            group.update(saved)

    def _flat(self) -> "list[torch.Tensor] | None":
        """Return the flat parameters of stage 3, missing in AdamW's groups between two steps; None in other stages."""
        return getattr(self._engine.optimizer, "fp32_partitioned_groups_flat", None)

    def _own_state(self) -> dict[str, Any]:
        flat = self._flat()
        if flat is None:
            return self._adamw.state_dict()
        groups = [{name: value for name, value in group.items() if name != "params"} for group in self.param_groups]
        return {"state": [self._adamw.state[parameter] for parameter in flat], "param_groups": groups}


def launch_variables(device: str) -> AbstractContextManager[None]:
    """Set the environment variables read by DeepSpeed at its start; restore them, because other libraries read them."""
    loopback = next(
        (
            name
            for name, addresses in psutil.net_if_addrs().items()
            if any(item.family == socket.AF_INET and item.address == "127.0.0.1" for item in addresses)
        ),
        None,
    )
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    network: dict[str, str] = {}
    if loopback is not None and world == 1:  # several workers may be on several machines
        network = {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    local = torch.cuda.current_device() if device == "cuda" else rank
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(local), "WORLD_SIZE": str(world)}
    return environment({"DS_ACCELERATOR": device, **ranks, **network})
