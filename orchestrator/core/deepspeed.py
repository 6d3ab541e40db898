"""The part of DeepSpeed's configuration allowed in a sweep file. No torch, no DeepSpeed.

The sweep file defines the training itself. DeepSpeed only decides about memory: ZeRO stages 1 and 2, with the optimizer
on the model's device or in CPU memory.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from orchestrator.core.environment import not_installed

Config: TypeAlias = Mapping[str, Any]
"""A configuration in the form of DeepSpeed's JSON files."""

ZERO = "zero_optimization"
OFFLOAD = "offload_optimizer"
STAGES = (1, 2)
NAMED: Mapping[str, Config] = {f"zero{stage}": {ZERO: {"stage": stage}} for stage in STAGES}
"""Configurations by name, which need no file."""

_PACKAGE = "deepspeed"


def missing_package() -> str | None:
    """Return a message with the install command if DeepSpeed is not installed, else None; nothing is imported."""
    return not_installed(_PACKAGE, "DeepSpeed")


def summary(config: Config) -> str:
    """Return a configuration in a few words: ``ZeRO-2``."""
    offloaded = config[ZERO].get(OFFLOAD, {}).get("device") == "cpu"
    return f"ZeRO-{config[ZERO]['stage']}" + (", the optimiser in the CPU's memory" if offloaded else "")
