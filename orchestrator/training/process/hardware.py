"""Which device trains, in which number format, and how values get there."""

from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.core.plan import Precision

if TYPE_CHECKING:
    import torch


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes CUDA where there is one.

    Raises:
        UserError: CUDA is asked for and there is none.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device: {device} needs a CUDA device, and this machine shows none; use auto or cpu")
    return device


def computes_in_bfloat16(precision: Precision, device: str) -> bool:
    """Return whether matrix products of training are computed in bfloat16.

    ``auto`` says yes where the hardware multiplies it natively; emulated, it is slower than float32.
    """
    import torch

    if precision is not Precision.AUTO:
        return precision is Precision.BFLOAT16
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def to_device(values: "torch.Tensor", device: str) -> "torch.Tensor":
    """Return values on a device.

    A copy from ordinary memory waits until the device has done all that it was told to do before; from pinned memory it
    waits in line with the rest, and the host goes on.
    """
    if not device.startswith("cuda") or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
