"""The commands that take a sweep further: the same one again, or the same one with more of what was spent."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path

from orchestrator.core.environment import program
from orchestrator.core.policy import Budget

MORE_TRIALS = 8
"""Trials that the command to search on adds."""


def resume_command(file: Path, overrides: Sequence[str], *, inline: bool) -> str:
    """Return the command that goes on with a sweep that was stopped.

    Args:
        file: the sweep file.
        overrides: ``budget.trials=4`` and the like, in their order; a later one of the same key replaces an earlier.
        inline: whether it ran without Ray.
    """
    last = {override.partition("=")[0]: override for override in overrides}
    laid_over = [part for override in last.values() for part in ("--set", override)]
    return f"{program()} {shlex.join(['sweep', str(file), *laid_over, *(['--inline'] if inline else [])])}"


def extend_command(
    file: Path, overrides: Sequence[str], budget: Budget, trials: int, elapsed_s: float, *, inline: bool
) -> str:
    """Return the command that extends a finished sweep: it raises each bound that the file or the command line sets.

    Args:
        file: the sweep file.
        overrides: see ``resume_command``.
        budget: what it had to spend.
        trials: trials so far.
        elapsed_s: time that its drivers ran, in seconds.
        inline: whether it ran without Ray.
    """
    more = []
    if budget.trials is not None:
        more.append(f"budget.trials={max(trials, budget.trials) + MORE_TRIALS}")
    if budget.wall_time_s is not None:
        # Half as long again: a bound that is not raised would end the extended sweep at once.
        more.append(f"budget.wall_time={math.ceil(1.5 * max(elapsed_s, budget.wall_time_s))}s")
    if budget.tokens is not None:
        more.append(f"budget.tokens={2 * budget.tokens}")
    return resume_command(file, [*overrides, *more], inline=inline)
