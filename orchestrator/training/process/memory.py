"""A process's memory: how much a trial took, and giving it back, so that a process kept for many does not grow."""

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
    """Have glibc serve later threads from its main arena; other C libraries are left alone.

    Every trial trains in a thread of its own, and glibc would give each an arena whose freed memory nobody else gets:
    processes of a 14-trial sweep grew to 6.6 GiB.
    """
    with suppress(OSError, AttributeError):  # no glibc: there is nothing to set
        ctypes.CDLL("libc.so.6").mallopt(_M_ARENA_MAX, 1)


def freeze_gc() -> None:
    """Have later collections look at newer objects alone.

    To look at all that torch, transformers and peft make when they are imported takes half a second, and memory is
    freed after every trial.
    """
    gc.collect()
    gc.freeze()


def free_memory(device: str) -> None:
    """Collect cycles (Trainer and model refer to each other), and give cached memory back to device and system."""
    gc.collect()
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError):  # no glibc: freed memory stays with the process
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_peak(device: str) -> None:
    """Begin to count the peak anew; where the system cannot do that (not Linux), it is the process's own."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM


def peak_mb(device: str) -> float:
    """Return the peak since ``reset_peak``: allocated device memory on CUDA, else resident memory; in MiB."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes there, KiB elsewhere


def available_mb(device: str) -> float:
    """Return how much memory could still be taken, in MiB: of the device on CUDA, else of the machine or container."""
    if device.startswith("cuda"):
        import torch

        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return (torch.cuda.mem_get_info()[0] + cached) / 2**20
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no such container, or one without a bound ("max")
        bound, taken = (int((_CGROUP / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
        free = min(free, bound - taken)
    return free / 2**20


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out; see ``memory_ran_out``."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or memory_ran_out(error)
