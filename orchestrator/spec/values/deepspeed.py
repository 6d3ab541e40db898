"""Reads ``training.deepspeed`` (a name, a JSON file or a mapping) into a checked DeepSpeed configuration."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.core.methods.deepspeed import (
    NAMED,
    OFFLOAD,
    PARAMETERS,
    STAGES,
    WEIGHTS,
    ZERO,
    Config,
    missing_package,
)
from orchestrator.spec.document.problems import KeyPath, Problems, yaml_text
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.document.yaml_text import MAX_BYTES
from orchestrator.spec.values.sources import SourceReader

_Errors: TypeAlias = Iterator[tuple[KeyPath, str]]
"""Key paths inside a configuration, each with the error message for it."""

_PATH: KeyPath = ("training", "deepspeed")
_MAX_ELEMENTS = 10**12
_AUTO = "auto"
"""Trainer's placeholder for a value from its own arguments."""
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
"""Keys found in configurations written for Trainer, and the keys of the sweep file in their place."""
_SILENT = ("steps_per_print", "wall_clock_breakdown")
"""Accepted and ignored: DeepSpeed's output is switched off."""


def read_deepspeed(written: str | Mapping[str, Any] | None, sources: SourceReader, problems: Problems) -> Config | None:
    """Return DeepSpeed's ZeRO configuration; None if ``written`` is None or has a problem.

    Args:
        written: a name, the path of a ``.json`` file, or the configuration itself.
        sources: finds the file.
        problems: receives the errors, including a missing package.
    """
    if written is None or problems.is_broken(_PATH):
        return None
    missing = missing_package()
    if missing:
        problems.add(_PATH, missing)
    config = _read(written, sources, problems) if isinstance(written, str) else written
    if config is None:
        return None
    errors = list(_errors_of(config))
    for key, message in errors:
        if isinstance(written, str):
            dotted = ".".join(map(str, key))
            problems.add(_PATH, f"{dotted}: {message}, in {written}" if key else f"{message}, in {written}")
        else:
            problems.add((*_PATH, *key), message)
    return None if errors else {ZERO: _without_auto(config[ZERO])}


def _read(written: str, sources: SourceReader, problems: Problems) -> Config | None:
    if written in NAMED:
        return NAMED[written]
    if Path(written).suffix != ".json":
        problems.add(_PATH, f"{', '.join(NAMED)} or the path of a .json file is needed, got {written!r}")
        return None
    file = sources.find(written)
    if file is None or not file.is_file():
        problems.add(_PATH, f"no such file, got {written!r}")
        return None
    try:
        config = _parse(file)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else f"is not valid JSON: {error}"
        problems.add(_PATH, f"{reason}, got {written!r}")
        return None
    if not isinstance(config, dict):
        problems.add(_PATH, f"a mapping is needed, got {yaml_text(config)}, in {written}")
        return None
    return config


def _parse(file: Path) -> object:
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"a file of at most {MAX_BYTES // 1024} KiB is needed")
    try:
        config: object = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(config)  # the parser accepts deeper nesting than the recursive functions below
    except RecursionError:
        raise ValueError("values are nested too deeply") from None
    return config


def _without_auto(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_auto(value) if isinstance(value, Mapping) else value
        for key, value in part.items()
        if value != _AUTO
    }


def _errors_of(config: Config) -> _Errors:
    for key, value in config.items():
        if key == ZERO:
            yield from _errors_in((ZERO,), value, {"stage": _stage, **_ZERO_RULES, **_WEIGHT_RULES})
            yield from _misplaced(value)
        elif key in _OWNED and set(_leaves(value)) - {_AUTO}:
            rule = f"is set by {_OWNED[key]} of the sweep file; remove it or write {_AUTO}"
            yield (key,), f"{rule}, got {yaml_text(value)}"
        elif key not in (*_OWNED, *_SILENT):
            yield (key,), f"only {ZERO} is supported{did_you_mean(key, (ZERO, *_OWNED, *_SILENT))}"
    zero = config.get(ZERO, {})
    if isinstance(zero, Mapping) and "stage" not in zero:
        yield (), f"{ZERO} with a stage is needed: {_STAGES}"


def _errors_in(path: KeyPath, part: object, rules: "Mapping[str, _Rule]") -> _Errors:
    """Yield the errors of a mapping; ``rules`` has a check for each allowed key."""
    if not isinstance(part, Mapping):
        yield path, f"a mapping is needed, got {yaml_text(part)}"
        return
    for key, value in part.items():
        if key not in rules:
            known = f"; known here: {', '.join(rules)}"
            yield (*path, key), f"unknown key{did_you_mean(key, rules) or known}"
        elif value != _AUTO or key in ("stage", "device"):
            yield from rules[key]((*path, key), value)


def _misplaced(zero: object) -> _Errors:
    """Yield the keys that need stage 3 in another stage."""
    if isinstance(zero, Mapping) and zero.get("stage") in STAGES and zero["stage"] != WEIGHTS:
        for key in zero:
            if key in _WEIGHT_RULES:
                yield (ZERO, key), f"applies only to stage {WEIGHTS}; the stage is {zero['stage']}"


def _stage(path: KeyPath, value: object) -> _Errors:
    if type(value) is not int or value not in STAGES:
        yield path, f"{_STAGES} is needed, got {yaml_text(value)}"


def _switch(path: KeyPath, value: object) -> _Errors:
    if not isinstance(value, bool):
        yield path, f"true or false is needed, got {yaml_text(value)}"


def _size(path: KeyPath, value: object) -> _Errors:
    """Check a number of elements; a float such as JSON's 5e8 may stand for a whole number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1 or value < 2:
        yield path, f"a whole number >= 2 is needed, got {yaml_text(value)}"
    elif value > _MAX_ELEMENTS:
        yield path, f"a whole number <= {_MAX_ELEMENTS:,} is needed, got {yaml_text(value)}"


def _even_size(path: KeyPath, value: object) -> _Errors:
    """Check a number of elements; DeepSpeed needs an even one."""
    errors = list(_size(path, value))
    if not errors and float(str(value)) % 2:
        errors = [(path, f"an even number is needed, got {yaml_text(value)}")]
    yield from errors


def _count(path: KeyPath, value: object) -> _Errors:
    """Check a number of elements that may be 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1 or not 0 <= value <= _MAX_ELEMENTS:
        yield path, f"a whole number from 0 to {_MAX_ELEMENTS:,} is needed, got {yaml_text(value)}"


def _device(path: KeyPath, value: object) -> _Errors:
    if value not in ("none", "cpu"):
        yield path, f"none or cpu is needed, got {yaml_text(value)}"


def _offload(path: KeyPath, value: object) -> _Errors:
    yield from _errors_in(path, value, {"device": _device, "pin_memory": _switch})
    if isinstance(value, Mapping) and "device" not in value:
        yield path, "device is needed: none or cpu"


_Rule: TypeAlias = Callable[[KeyPath, object], _Errors]
_STAGES = "1, 2 or 3"
_ZERO_RULES: Mapping[str, _Rule] = {
    "allgather_bucket_size": _even_size,
    "allgather_partitions": _switch,
    "contiguous_gradients": _switch,
    "ignore_unused_parameters": _switch,
    OFFLOAD: _offload,
    "overlap_comm": _switch,
    "reduce_bucket_size": _size,
    "reduce_scatter": _switch,
    "round_robin_gradients": _switch,
}


_WEIGHT_RULES: Mapping[str, _Rule] = {
    PARAMETERS: _offload,
    "stage3_gather_16bit_weights_on_model_save": _switch,
    "stage3_max_live_parameters": _count,
    "stage3_max_reuse_distance": _count,
    "stage3_param_persistence_threshold": _count,
    "stage3_prefetch_bucket_size": _count,
    "sub_group_size": _size,
}
"""Keys of stage 3."""


def _leaves(value: object) -> Iterator[str]:
    """Yield the leaf values of nested mappings and lists, as text."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield str(value)
