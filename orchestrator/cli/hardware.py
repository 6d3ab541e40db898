"""The machine's cores, memory, number formats, accelerators and disk."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.system.environment import usable_cores


@dataclass(frozen=True, kw_only=True, slots=True)
class Hardware:
    """Facts about the machine.

    Attributes:
        cores: CPUs available to this process.
        memory_bytes, free_memory_bytes: of the machine, or of the container if its limit is lower.
        bfloat16: names of the CPU's instructions for bfloat16 products; may be empty.
        gpus: name and memory of each CUDA device, including devices unusable by this build of torch.
        free_disk_bytes: free space on the disk of the ledger.
    """

    cores: int
    memory_bytes: int
    free_memory_bytes: int
    bfloat16: tuple[str, ...]
    gpus: tuple[str, ...]
    free_disk_bytes: int


def detect_hardware(folder: Path) -> Hardware:
    """Return the machine's hardware, with the free space on the disk of ``folder``. Imports torch."""
    import psutil

    memory = psutil.virtual_memory()
    limit = _container_bytes() or memory.total
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Hardware(
        cores=usable_cores(),
        memory_bytes=min(memory.total, limit),
        free_memory_bytes=min(memory.available, limit),
        bfloat16=_bfloat16(),
        gpus=_gpus(),
        free_disk_bytes=shutil.disk_usage(existing).free,
    )


def _bfloat16() -> tuple[str, ...]:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:  # not Linux
        return ()
    return tuple(name for name in ("avx512_bf16", "amx_bf16", "bf16") if name in flags)


def _gpus() -> tuple[str, ...]:
    import torch

    if not torch.cuda.is_available():
        return tuple(f"{device} (torch {torch.__version__} cannot use it)" for device in _driver_gpus())
    devices = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    return tuple(f"{item.name}, {item.total_memory / 1e9:.0f} GB" for item in devices)


def _driver_gpus() -> tuple[str, ...]:
    """Return the devices known to the NVIDIA driver. Needs the extra ``gpu``; torch hides unsupported devices."""
    try:
        import pynvml
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        return ()
    try:
        devices = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        sizes = [pynvml.nvmlDeviceGetMemoryInfo(device).total for device in devices]
        names = [pynvml.nvmlDeviceGetName(device) for device in devices]
        return tuple(f"{name}, {size / 1e9:.0f} GB" for name, size in zip(names, sizes, strict=True))
    finally:
        pynvml.nvmlShutdown()


def _container_bytes() -> int | None:
    """Return the memory limit of the control group, or None."""
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(place).read_text(encoding="utf-8").strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() else None
    return None
