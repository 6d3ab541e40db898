"""``training.deepspeed``: by name, as a JSON file or written out, to a checked configuration."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.core.deepspeed import NAMED, OFFLOAD, STAGES, ZERO, Config, missing_package
from orchestrator.spec.document import MOST_BYTES
from orchestrator.spec.problems import KeyPath, Problems, shown
from orchestrator.spec.sources import SourceReader
from orchestrator.spec.suggest import did_you_mean

_Found: TypeAlias = Iterator[tuple[KeyPath, str]]
"""Keys inside of a configuration, each with the rule that is broken there and the value."""

_PATH: KeyPath = ("training", "deepspeed")
_MOST_ELEMENTS = 10**12
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


def read_deepspeed(written: str | Mapping[str, Any] | None, sources: SourceReader, problems: Problems) -> Config | None:
    """Return DeepSpeed's configuration, without what the sweep file has; None if there is none, or after a problem.

    Args:
        written: a name, the path of a ``.json`` file, or the configuration itself.
        sources: finds the file.
        problems: takes what is wrong, a missing package included.
    """
    if written is None or problems.is_broken(_PATH):
        return None
    missing = missing_package()
    if missing:
        problems.add(_PATH, missing)
    config = _read(written, sources, problems) if isinstance(written, str) else written
    if config is None:
        return None
    found = list(_problems_of(config))
    for key, message in found:
        if isinstance(written, str):
            dotted = ".".join(map(str, key))
            problems.add(_PATH, f"{dotted}: {message}, in {written}" if key else f"{message}, in {written}")
        else:
            problems.add((*_PATH, *key), message)
    return None if found else {ZERO: _without_auto(config[ZERO])}


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
        config = _parsed(file)
    except (OSError, ValueError) as error:  # not readable, not UTF-8, or no JSON
        problems.add(_PATH, f"is no JSON file, {error}, got {written!r}")
        return None
    if not isinstance(config, dict):
        problems.add(_PATH, f"a mapping is needed, got {shown(config)}, in {written}")
        return None
    return config


def _parsed(file: Path) -> object:
    if file.stat().st_size > MOST_BYTES:
        raise ValueError(f"which has at most {MOST_BYTES // 1024} KiB")
    try:
        config: object = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(config)  # what can be read may still be too deep to be walked through
    except RecursionError:
        raise ValueError("values stand too deep in each other") from None
    return config


def _without_auto(part: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_auto(value) if isinstance(value, Mapping) else value
        for key, value in part.items()
        if value != _AUTO
    }


def _problems_of(config: Config) -> _Found:
    for key, value in config.items():
        if key == ZERO:
            yield from _problems_in((ZERO,), value, {"stage": _stage, **_ZERO_RULES})
        elif key in _OWNED and set(_leaves(value)) - {_AUTO}:
            yield (key,), f"the sweep file has this in {_OWNED[key]}; leave it out or write {_AUTO}, got {shown(value)}"
        elif key not in (*_OWNED, *_SILENT):
            yield (key,), f"DeepSpeed is left with {ZERO} alone{did_you_mean(key, (ZERO, *_OWNED, *_SILENT))}"
    zero = config.get(ZERO, {})
    if isinstance(zero, Mapping) and "stage" not in zero:
        yield (), f"{ZERO} with a stage is needed, {_STAGES}"


def _problems_in(path: KeyPath, part: object, rules: "Mapping[str, _Rule]") -> _Found:
    """Yield what is wrong in a mapping that may hold the keys of ``rules``."""
    if not isinstance(part, Mapping):
        yield path, f"a mapping is needed, got {shown(part)}"
        return
    for key, value in part.items():
        if key not in rules:
            known = f"; known here: {', '.join(rules)}"
            yield (*path, key), f"unknown key{did_you_mean(key, rules) or known}"
        elif value != _AUTO or key in ("stage", "device"):
            yield from rules[key]((*path, key), value)


def _stage(path: KeyPath, value: object) -> _Found:
    # Weights in parts, stage 3, could be neither measured nor exported as they are here.
    if type(value) is not int or value not in STAGES:
        yield path, f"{_STAGES} is needed, got {shown(value)}"


def _switch(path: KeyPath, value: object) -> _Found:
    if not isinstance(value, bool):
        yield path, f"true or false is needed, got {shown(value)}"


def _size(path: KeyPath, value: object) -> _Found:
    """A number of elements; JSON's 5e8 is one, too."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value % 1 or value < 2:
        yield path, f"a whole number >= 2 is needed, got {shown(value)}"
    elif value > _MOST_ELEMENTS:
        yield path, f"a whole number <= {_MOST_ELEMENTS:,} is needed, got {shown(value)}"


def _even_size(path: KeyPath, value: object) -> _Found:
    """The same; DeepSpeed gathers pairs."""
    broken = list(_size(path, value))
    if not broken and float(str(value)) % 2:
        broken = [(path, f"an even number is needed, got {shown(value)}")]
    yield from broken


def _device(path: KeyPath, value: object) -> _Found:
    if value not in ("none", "cpu"):
        yield path, f"none or cpu is needed, got {shown(value)}"


def _offload(path: KeyPath, value: object) -> _Found:
    yield from _problems_in(path, value, {"device": _device, "pin_memory": _switch})
    if isinstance(value, Mapping) and "device" not in value:
        yield path, "device is needed, none or cpu"


_Rule: TypeAlias = Callable[[KeyPath, object], _Found]
_STAGES = " or ".join(map(str, STAGES))
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
