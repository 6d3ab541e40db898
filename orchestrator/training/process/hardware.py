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


def number_format(precision: Precision, device: str) -> Precision:
    """Return the number format of training's matrix products: float32, bfloat16 or float16.

    ``auto`` selects bfloat16 with native hardware support, because emulated bfloat16 is slower than float32.
    """
    import torch

    if precision is not Precision.AUTO:
        return precision
    if device.startswith("cuda"):
        native = bool(torch.cuda.is_bf16_supported(including_emulation=False))
    else:
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return Precision.BFLOAT16 if native else Precision.FLOAT32


def dtype_of(number_format: Precision) -> "torch.dtype":
    """Return torch's name of a number format other than ``auto``."""
    import torch

    dtype: torch.dtype = getattr(torch, number_format.value)
    return dtype


def to_device(values: "torch.Tensor", device: str) -> "torch.Tensor":
    """Return the values on a device.

    A copy from pageable memory blocks the host until the device is idle. A copy from pinned memory is queued, and the
    host continues.
    """
    if not device.startswith("cuda") or values.device.type != "cpu":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
