"""The device and the number format of training, and copies to the device."""

from typing import TYPE_CHECKING

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import Precision

if TYPE_CHECKING:
    import torch


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` selects CUDA if it is available.

    Raises:
        UserError: CUDA is requested and not available.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device: {device} needs a CUDA device, and this machine shows none; use auto or cpu")
    return device


def computes_in_bfloat16(precision: Precision, device: str) -> bool:
    """Return whether training computes matrix products in bfloat16.

    ``auto`` requires native hardware support: emulated bfloat16 is slower than float32.
    """
    import torch

    if precision is not Precision.AUTO:
        return precision is Precision.BFLOAT16
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def to_device(values: "torch.Tensor", device: str) -> "torch.Tensor":
    """Return the values on a device.

    A copy from pageable memory blocks the host until the device is idle. A copy from pinned memory is queued, and the
    host continues.
    """
    if not device.startswith("cuda") or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
