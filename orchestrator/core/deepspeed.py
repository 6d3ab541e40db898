"""DeepSpeed's configuration: the part that a sweep file may hold, and what is wrong with one. No torch, no DeepSpeed.

The sweep file says how a trial learns, so DeepSpeed is left with how memory is used: ZeRO stages 1 and 2, with the
optimiser where the model is or in the CPU's memory.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Config: TypeAlias = Mapping[str, Any]
"""As in DeepSpeed's JSON files."""
Key: TypeAlias = tuple[str, ...]

ZERO = "zero_optimization"
NAMED: Mapping[str, Config] = {f"zero{stage}": {ZERO: {"stage": stage}} for stage in (1, 2)}
"""Configurations that need no file."""

_PACKAGE = "deepspeed"
_AUTO = "auto"
"""Trainer's word for what is said elsewhere."""
_OWNED = {
    "train_batch_size": "training.batch_size and training.accumulation",
    "train_micro_batch_size_per_gpu": "training.batch_size",
    "gradient_accumulation_steps": "training.accumulation",
    "gradient_clipping": "training.max_grad_norm",
    "optimizer": "section training",
    "scheduler": "training.schedule and training.warmup_ratio",
    "fp16": "training.precision",
    "bf16": "training.precision",
    "amp": "training.precision",
    "torch_autocast": "training.precision",
}
"""Keys that Trainer's users write, and where the sweep file has them."""
_SILENT = ("steps_per_print", "wall_clock_breakdown")
"""Keys that change nothing: what DeepSpeed would print is off."""
_SWITCHES = (
    "allgather_partitions",
    "contiguous_gradients",
    "ignore_unused_parameters",
    "overlap_comm",
    "reduce_scatter",
    "round_robin_gradients",
)
_SIZES = ("allgather_bucket_size", "reduce_bucket_size")
_OFFLOAD = "offload_optimizer"
_DEVICES = ("none", "cpu")


def missing_package() -> str | None:
    """Return which package DeepSpeed needs and how to get it, or None if it is installed; it is not imported."""
    if importlib.util.find_spec(_PACKAGE) is not None:
        return None
    return f"DeepSpeed needs a package that is not installed; install it with: pip install {_PACKAGE}"


def problems_of(config: Config) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong with a configuration: the key, and the rule with the value that breaks it."""
    for key, value in config.items():
        if key == ZERO:
            yield from _problems_of_zero(value)
        elif key in _OWNED and set(_leaves(value)) - {_AUTO}:
            yield (key,), f"the sweep file has this in {_OWNED[key]}; leave it out or write {_AUTO}, got {value!r}"
        elif key not in (*_OWNED, *_SILENT):
            yield (key,), f"only {ZERO} is left to DeepSpeed, got {key!r}"
    if ZERO not in config:
        yield (), f"{ZERO} with stage 1 or 2 is needed"


def without_auto(config: Config) -> dict[str, Any]:
    """Return what a configuration says of memory, without the rest: the sweep file has that."""
    zero = {key: value for key, value in config[ZERO].items() if value != _AUTO}
    if isinstance(zero.get(_OFFLOAD), Mapping):
        zero[_OFFLOAD] = {key: value for key, value in zero[_OFFLOAD].items() if value != _AUTO}
    return {ZERO: zero}


def told(config: Config) -> str:
    """Return a configuration in a few words."""
    zero = config[ZERO]
    offloaded = zero.get(_OFFLOAD, {}).get("device", _DEVICES[0]) != _DEVICES[0]
    return f"ZeRO-{zero['stage']}" + (", the optimiser in the CPU's memory" if offloaded else "")


def _problems_of_zero(zero: object) -> Iterator[tuple[Key, str]]:
    if not isinstance(zero, Mapping):
        yield (ZERO,), f"a mapping with stage 1 or 2 is needed, got {zero!r}"
        return
    stage = zero.get("stage")
    if not _whole(stage) or stage not in (1, 2):
        # Weights in parts could be neither measured nor exported as they are here.
        place = (ZERO, "stage") if "stage" in zero else (ZERO,)
        yield place, f"stages 1 and 2 are supported, got {'none' if stage is None else repr(stage)}"
    for key, value in zero.items():
        if key == "stage" or value == _AUTO:
            continue
        if key in _SWITCHES:
            if not isinstance(value, bool):
                yield (ZERO, key), f"true or false is needed, got {value!r}"
        elif key in _SIZES:
            if not _whole(value) or value < 2:
                yield (ZERO, key), f"a whole number of at least 2 is needed, got {value!r}"
        elif key == _OFFLOAD:
            yield from _problems_of_offloading(value)
        else:
            known = ", ".join(sorted(("stage", _OFFLOAD, *_SWITCHES, *_SIZES)))
            yield (ZERO, key), f"unknown for stages 1 and 2; known: {known}"


def _problems_of_offloading(offload: object) -> Iterator[tuple[Key, str]]:
    if not isinstance(offload, Mapping) or offload.get("device") not in _DEVICES:
        yield (ZERO, _OFFLOAD), f"a mapping with device {' or '.join(_DEVICES)} is needed, got {offload!r}"
        return
    for key, value in offload.items():
        if key == "pin_memory":
            if not isinstance(value, bool) and value != _AUTO:
                yield (ZERO, _OFFLOAD, key), f"true or false is needed, got {value!r}"
        elif key != "device":
            yield (ZERO, _OFFLOAD, key), "unknown; known: device, pin_memory"


def _whole(value: object) -> bool:
    """Whether this is a whole number; JSON's 5e8 is one."""
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()


def _leaves(value: object) -> Iterator[str]:
    """Yield the values at the ends of nested mappings and lists, as text."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield str(value)
