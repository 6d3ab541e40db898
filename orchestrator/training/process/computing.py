"""How the solo engine computes on this hardware: number format, attention and recomputed activations, with reasons."""

from dataclasses import dataclass

from orchestrator.core.plan import Attention, EngineName, EnginePlan, Precision
from orchestrator.training.process.hardware import choose_device, computes_in_bfloat16

_LARGE = 0.4
"""Share of the device's memory from which on a base model leaves too little for activations."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Computing:
    """The choices of a sweep, each with its reason in words.

    Attributes:
        precision, attention, checkpointing: for people, such as ``bfloat16: set by training.precision``.
    """

    precision: str
    attention: str
    checkpointing: str


def computing(plan: EnginePlan, base_bytes: int | None = None) -> Computing:
    """Return the choices for a plan on this machine.

    Args:
        plan: the sweep's plan.
        base_bytes: bytes of the base model's weights; None: not known yet.
    """
    device = choose_device(plan.device)
    packed = plan.engine is EngineName.PACKED
    return Computing(
        precision=_precision(plan, device),
        attention=_attention(plan, device, packed=packed),
        checkpointing="off: the packed engine has none" if packed else _checkpointing(plan, device, base_bytes),
    )


def recomputes(plan: EnginePlan, device: str, base_bytes: int) -> bool:
    """Return whether the backward computes the activations of each layer again instead of keeping them.

    Args:
        plan: the sweep's plan.
        device: ``cpu`` or ``cuda``.
        base_bytes: bytes of the base model's weights in this process.
    """
    if plan.checkpointing is not None:
        return plan.checkpointing
    return device.startswith("cuda") and base_bytes > _LARGE * _device_bytes()


def _device_bytes() -> int:
    import torch

    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


def _precision(plan: EnginePlan, device: str) -> str:
    bfloat16 = computes_in_bfloat16(plan.precision, device)
    name = "bfloat16" if bfloat16 else "float32"
    if plan.precision is not Precision.AUTO:
        return f"{name}: set by training.precision"
    what = "this GPU" if device.startswith("cuda") else "this CPU"
    return f"{name}: {what} {'has' if bfloat16 else 'has no'} instructions for bfloat16 products"


def _attention(plan: EnginePlan, device: str, *, packed: bool) -> str:
    if plan.attention is not Attention.AUTO:
        return f"{plan.attention}: set by training.attention"
    if packed:
        return "the packed engine's own: fused kernels on CUDA without dropout, else matrix products"
    if device == "cpu":
        return "eager, if it gives the results of the model's default: the backward of fused kernels is slow on a CPU"
    return "the model's default, mostly sdpa: torch chooses the fastest fused kernel"


def _checkpointing(plan: EnginePlan, device: str, base_bytes: int | None) -> str:
    if plan.checkpointing is not None:
        return f"{'on' if plan.checkpointing else 'off'}: set by training.gradient_checkpointing"
    if not device.startswith("cuda"):
        return "off: a CPU has memory for activations, and recomputing them takes a third more time"
    limit = f"{100 * _LARGE:.0f} % of the GPU's memory"
    if base_bytes is None:
        return f"on if the base model takes more than {limit}"
    if recomputes(plan, device, base_bytes):
        return f"on: the base model takes more than {limit}"
    return f"off: the base model takes at most {limit}"
