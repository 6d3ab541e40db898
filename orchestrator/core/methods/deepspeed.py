"""The part of DeepSpeed's configuration allowed in a sweep file. No torch, no DeepSpeed.

The sweep file defines the training itself. DeepSpeed only decides about memory: ZeRO stages 1 to 3, with the optimizer,
and in stage 3 the weights, on the model's device or in CPU memory.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from orchestrator.core.system.environment import not_installed

Config: TypeAlias = Mapping[str, Any]
"""A configuration in the form of DeepSpeed's JSON files."""

ZERO = "zero_optimization"
OFFLOAD = "offload_optimizer"
PARAMETERS = "offload_param"
WEIGHTS = 3
"""The stage that partitions the weights too."""
STAGES = (1, 2, WEIGHTS)
NAMED: Mapping[str, Config] = {f"zero{stage}": {ZERO: {"stage": stage}} for stage in STAGES}
"""Configurations by name, which need no file."""

_PACKAGE = "deepspeed"


def missing_package() -> str | None:
    """Return a message with the install command if DeepSpeed is not installed, else None; nothing is imported."""
    return not_installed(_PACKAGE, "DeepSpeed")


def summary(config: Config) -> str:
    """Return a configuration in a few words: ``ZeRO-2``."""
    zero, names = config[ZERO], {OFFLOAD: "the optimiser", PARAMETERS: "the weights"}
    offloaded = [words for key, words in names.items() if zero.get(key, {}).get("device") == "cpu"]
    return f"ZeRO-{zero['stage']}" + (f", {' and '.join(offloaded)} in the CPU's memory" if offloaded else "")


def partitions_weights(config: Config | None) -> bool:
    """Return whether a process holds only a part of the weights between the forwards of their modules."""
    return config is not None and config[ZERO]["stage"] == WEIGHTS
