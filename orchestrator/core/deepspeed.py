"""DeepSpeed's configuration as far as a sweep file may hold it. No torch, no DeepSpeed.

The sweep file says how a trial learns, so DeepSpeed is left with how memory is used: ZeRO stages 1 and 2, with the
optimiser where the model is or in the CPU's memory.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

from orchestrator.core.environment import not_installed

Config: TypeAlias = Mapping[str, Any]
"""As in DeepSpeed's JSON files."""

ZERO = "zero_optimization"
OFFLOAD = "offload_optimizer"
STAGES = (1, 2)
NAMED: Mapping[str, Config] = {f"zero{stage}": {ZERO: {"stage": stage}} for stage in STAGES}
"""Configurations that need no file."""

_PACKAGE = "deepspeed"


def missing_package() -> str | None:
    """Return which package DeepSpeed needs and how to get it, or None if it is installed; it is not imported."""
    return not_installed(_PACKAGE, "DeepSpeed")


def told(config: Config) -> str:
    """Return a configuration in a few words."""
    offloaded = config[ZERO].get(OFFLOAD, {}).get("device") == "cpu"
    return f"ZeRO-{config[ZERO]['stage']}" + (", the optimiser in the CPU's memory" if offloaded else "")
