"""Measure and free the memory of a process, so that it does not grow from trial to trial."""

import ctypes
import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from orchestrator.core.errors import memory_ran_out

_M_ARENA_MAX = -8
_CGROUP = Path("/sys/fs/cgroup")


def use_one_arena() -> None:
    """Make glibc serve all threads from its main arena; do nothing with another C library.

    Every trial trains in its own thread. With one arena per thread, freed memory cannot be reused by the next trial:
    the processes of a 14-trial sweep grew to 6.6 GiB.
    """
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 1)


def freeze_gc() -> None:
    """Exclude all current objects from later garbage collections.

    A collection runs after every trial, and takes half a second for the objects of torch, transformers and peft.
    """
    gc.collect()
    gc.freeze()


def free_memory(device: str) -> None:
    """Collect reference cycles, such as Trainer and model, and return cached memory to the device and the system."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_peak(device: str) -> None:
    """Reset the peak memory; on systems other than Linux the peak of the whole process remains."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM


def peak_mb(device: str) -> float:
    """Return the peak memory since ``reset_peak`` in MiB: allocated on CUDA, resident on a CPU."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB elsewhere


def available_mb(device: str) -> float:
    """Return the free memory in MiB: of the device on CUDA, else of the machine or its container."""
    if device.startswith("cuda"):
        import torch

        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return (torch.cuda.mem_get_info()[0] + cached) / 2**20
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no container, or no limit ("max")
        limit, used = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        free = min(free, limit - used)
    return free / 2**20


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory; see ``memory_ran_out``."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or memory_ran_out(error)
