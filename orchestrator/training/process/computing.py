"""How trials compute on this hardware: number format, attention and recomputed activations, with reasons."""

from dataclasses import dataclass

from orchestrator.core.methods.deepspeed import OFFLOAD, PARAMETERS, WEIGHTS, ZERO
from orchestrator.core.sweeps.plan import Attention, EngineName, EnginePlan, Precision
from orchestrator.training.process.hardware import choose_device, number_format

_LARGE = 0.4
"""Share of the device's memory from which on weights and training state leave too little for activations."""
_GRADIENT, _STATES = 4, 8
"""Bytes of the gradient and of AdamW's states of a trained number, in float32."""
_PACKED_ATTENTION = "the packed engine's own: fused kernels on CUDA without dropout, else matrix products"
_PACKED_OFF = "off: the packed engine has none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Computing:
    """The choices of a sweep, each with its reason in words.

    Attributes:
        precision, attention, checkpointing: for people, such as ``bfloat16: set by training.precision``.
    """

    precision: str
    attention: str
    checkpointing: str


def computing(plan: EnginePlan, *, mixed: bool = False) -> Computing:
    """Return the choices for a plan on this machine.

    Args:
        plan: the sweep's plan, with the engine that trains most trials.
        mixed: whether the solo engine trains some trials of a packed sweep; the choices of both are stated then.
    """
    device = choose_device(plan.device)
    attention, checkpointing = _attention(plan, device), _checkpointing(plan, device)
    if plan.engine is EngineName.PACKED:
        solo = "; in the solo engine {}" if mixed else ""
        attention, checkpointing = _PACKED_ATTENTION + solo.format(attention), _PACKED_OFF + solo.format(checkpointing)
    return Computing(precision=_precision(plan, device), attention=attention, checkpointing=checkpointing)


def recomputes(
    plan: EnginePlan, device: str, weight_bytes: int, num_trained: int, device_bytes: int | None = None
) -> bool:
    """Return whether the backward computes the activations of each layer again instead of keeping them.

    Args:
        plan: the sweep's plan.
        device: ``cpu`` or ``cuda``.
        weight_bytes: bytes of the loaded model's weights, before they are divided among the workers.
        num_trained: number of trained parameters.
        device_bytes: memory of the device; None: of the current CUDA device.
    """
    if plan.checkpointing is not None:
        return plan.checkpointing
    if not device.startswith("cuda"):
        return False
    memory = _device_bytes() if device_bytes is None else device_bytes
    return state_bytes(plan, weight_bytes, num_trained) > _LARGE * memory


def state_bytes(plan: EnginePlan, weight_bytes: int, num_trained: int) -> float:
    """Return the bytes of weights, gradients and optimizer states on the device of one worker.

    FSDP2 divides all of them. ZeRO divides the states, from stage 2 on the gradients, in stage 3 the weights, and may
    keep states and weights in the CPU's memory. The arguments are those of ``recomputes``.
    """
    gradients, states = _GRADIENT * num_trained, _STATES * num_trained
    if plan.deepspeed is None:
        return (weight_bytes + gradients + states) / plan.workers
    zero = plan.deepspeed[ZERO]

    def own(size: int, stage: int, offload: str) -> float:
        if zero.get(offload, {}).get("device") == "cpu":
            return 0
        return size / plan.workers if zero["stage"] >= stage else size

    return own(weight_bytes, WEIGHTS, PARAMETERS) + own(gradients, 2, "") + own(states, 1, OFFLOAD)


def _device_bytes() -> int:
    import torch

    return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)


def _precision(plan: EnginePlan, device: str) -> str:
    chosen = number_format(plan.precision, device)
    if plan.precision is not Precision.AUTO:
        scaled = ", and each trial scales its loss" if chosen is Precision.FLOAT16 else ""
        return f"{chosen}: set by training.precision{scaled}"
    what = "this GPU" if device.startswith("cuda") else "this CPU"
    if chosen is Precision.BFLOAT16:
        return f"{chosen}: {what} has instructions for bfloat16 products"
    faster = "; training.precision: float16 is faster" if device.startswith("cuda") else ""
    return f"{chosen}: {what} has no instructions for bfloat16 products{faster}"


def _attention(plan: EnginePlan, device: str) -> str:
    if plan.attention is not Attention.AUTO:
        return f"{plan.attention}: set by training.attention"
    if device == "cpu":
        return "eager, if it gives the results of the model's default: the backward of fused kernels is slow on a CPU"
    return "the model's default, mostly sdpa: torch chooses the fastest fused kernel"


def _checkpointing(plan: EnginePlan, device: str) -> str:
    if plan.checkpointing is not None:
        return f"{'on' if plan.checkpointing else 'off'}: set by training.gradient_checkpointing"
    if not device.startswith("cuda"):
        return "off: a CPU has memory for activations, and recomputing them takes a third more time"
    divided = plan.workers > 1 or plan.deepspeed is not None
    held = "a worker's part of weights and training state" if divided else "weights and training state"
    return f"on if {held} take{'s' if divided else ''} more than {100 * _LARGE:.0f} % of the GPU's memory"
