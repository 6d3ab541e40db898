"""Commands to resume or extend a sweep."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from orchestrator.core.sweeps.policy import Budget
from orchestrator.core.system.environment import program

MORE_TRIALS = 8
"""Trials added by the command to extend a sweep."""
_SHORT_S = 600
"""Longer times are given in minutes."""


def resume_command(file: Path, overrides: Sequence[str], *, inline: bool) -> str:
    """Return the command to resume a stopped sweep.

    Args:
        file: the sweep file.
        overrides: such as ``budget.trials=4``, in their order; the last one of a key is kept.
        inline: whether the sweep ran without Ray.
    """
    last = {override.partition("=")[0]: override for override in overrides}
    options = [part for override in last.values() for part in ("--set", override)]
    return f"{program()} {shlex.join(['sweep', str(file), *options, *(['--inline'] if inline else [])])}"


def extend_command(
    file: Path, overrides: Sequence[str], budget: Budget, trials: int, elapsed_s: float, *, inline: bool
) -> str:
    """Return the command to extend a finished sweep: every limit is raised.

    ``until`` is removed, unless the time ended the sweep.

    Args:
        file: the sweep file.
        overrides: see ``resume_command``.
        budget: the budget of the finished sweep.
        trials: number of trials so far.
        elapsed_s: wall time so far, in seconds.
        inline: whether the sweep ran without Ray.
    """
    more = []
    if budget.trials is not None:
        more.append(f"budget.trials={max(trials, budget.trials) + MORE_TRIALS}")
    if budget.wall_time_s is not None:
        # An unchanged limit would end the extended sweep at once.
        longer_s = math.ceil(1.5 * max(elapsed_s, budget.wall_time_s))
        more.append(f"budget.wall_time={f'{math.ceil(longer_s / 60)}m' if longer_s > _SHORT_S else f'{longer_s}s'}")
    if budget.tokens is not None:
        more.append(f"budget.tokens={2 * budget.tokens}")
    if budget.until is not None and not (budget.wall_time_s is not None and elapsed_s >= budget.wall_time_s):
        more.append("budget.until=null")  # its condition still holds
    return resume_command(file, [*overrides, *more], inline=inline)
