"""DeepSpeed's engine in a world of one process: no launcher, no port, nothing that listens beyond this machine.

It knows nothing of Trainer but what an optimiser looks like to it. Imports DeepSpeed inside its functions, because
importing it takes seconds.
"""

import atexit
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import psutil
import torch

from orchestrator.core.deepspeed import ZERO, Config, missing_package
from orchestrator.core.environment import environment
from orchestrator.core.errors import LoratoryError, UserError
from orchestrator.core.settings import TrialSettings

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

_SHARED_MEMORY_OP = "deepspeed_shm_comm"


def join_world(device: str) -> None:
    """Make this process a world of its own, once: trial after trial trains in it, until the process ends.

    DeepSpeed keeps process groups in its modules and cannot do with others after that, so they last that long.

    Args:
        device: ``cpu`` or ``cuda``.

    Raises:
        UserError: DeepSpeed is not installed.
        LoratoryError: it was started for another device in this process.
    """
    missing = missing_package()
    if missing:
        raise UserError(f"training.deepspeed: {missing}")
    with _alone(device):
        import deepspeed

        accelerator = deepspeed.accelerator.get_accelerator()
        if accelerator.device_name() != device:
            raise LoratoryError(f"this process has DeepSpeed for {accelerator.device_name()} already, not for {device}")
        # Compiling it takes half a minute and a compiler, and it serves processes that share memory.
        deepspeed.ops.__compatible_ops__[_SHARED_MEMORY_OP] = False
        if not torch.distributed.is_initialized():
            backend = accelerator.communication_backend_name()
            # A store in memory: nothing is to be agreed upon with other processes, so no port is taken.
            store = torch.distributed.HashStore()  # type: ignore[attr-defined]
            torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
            atexit.register(torch.distributed.destroy_process_group)
        deepspeed.init_distributed(verbose=False)


def start_engine(
    model: torch.nn.Module, adamw: torch.optim.Optimizer, config: Config, settings: TrialSettings, device: str
) -> "DeepSpeedEngine":
    """Return an engine over a model's trainable parameters; ``adamw`` works on the engine's flat copies from now on.

    It neither clips nor scales: the gradient is made what it has to be before its step.

    Args:
        model: what its forward calls.
        adamw: as it is for training without DeepSpeed.
        config: says how memory is used.
        settings: the trial's.
        device: ``cpu`` or ``cuda``.
    """
    import deepspeed

    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    zero = {"reduce_bucket_size": max(trainable, 2), **config[ZERO]}  # its default would take 2 GB
    arguments = {
        "train_micro_batch_size_per_gpu": settings.batch_size,
        "gradient_accumulation_steps": settings.accumulation,
        "gradient_clipping": 0.0,
        "zero_force_ds_cpu_optimizer": False,  # its own Adam for the CPU has to be compiled; torch's runs there too
        ZERO: zero,
    }
    with _alone(device):
        engine, *_ = deepspeed.initialize(model=model, optimizer=adamw, config=arguments)
    return engine


def stop_engine(engine: "DeepSpeedEngine") -> None:
    """Take the engine's hooks off the model, and let nothing refer to it."""
    engine.destroy()


class SteppedByEngine(torch.optim.Optimizer):
    """AdamW as Trainer sees it: rates, groups and states are its own, but a step is the engine's.

    Groups and states are those of the engine's flat copies. What ``state_dict`` returns fits every engine that was
    started with the same groups.
    """

    def __init__(self, adamw: torch.optim.Optimizer, engine: "DeepSpeedEngine") -> None:
        self._adamw = adamw
        self._engine = engine

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """AdamW's groups, as they are now: loading its state makes new ones."""
        return self._adamw.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]  # noqa: ANN401
        """AdamW's state by flat parameter."""
        return self._adamw.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """AdamW's defaults."""
        return self._adamw.defaults

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Have the engine make the update; it forgets the gradients too."""
        self._engine.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: the engine's step does it."""

    def state_dict(self) -> dict[str, Any]:
        """Return AdamW's state."""
        return self._adamw.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load AdamW's state."""
        self._adamw.load_state_dict(state_dict)


def _alone(device: str) -> AbstractContextManager[None]:
    """Set what DeepSpeed and its communication read when they start, and put it back: other libraries read it too."""
    loopback = next(
        (
            name
            for name, addresses in psutil.net_if_addrs().items()
            if any(item.family == socket.AF_INET and item.address == "127.0.0.1" for item in addresses)
        ),
        None,
    )
    within = {} if loopback is None else {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    return environment({"DS_ACCELERATOR": device, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", **within})
