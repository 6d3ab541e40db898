"""Enumerates the possible values of some settings over all trials of a sweep."""

from collections.abc import Collection, Mapping

from orchestrator.core.space import ParamValue, Space
from orchestrator.core.trials.settings import RULES


def possible(
    space: Space, fixed: Mapping[str, ParamValue], names: Collection[str]
) -> tuple[dict[str, ParamValue], ...]:
    """Return the possible combinations of values of ``names`` in one trial.

    An inactive setting has its fixed value, else its default. A range is represented by its two ends.
    """
    otherwise = {name: fixed.get(name, RULES[name].default) for name in names}
    return tuple({**otherwise, **chosen} for chosen in space.combinations(names))


def possible_epochs(space: Space, fixed: Mapping[str, ParamValue]) -> tuple[float, ...]:
    """Return the possible epochs of a trial, ascending; a range is represented by its two ends."""
    return tuple(sorted({float(str(trial["epochs"])) for trial in possible(space, fixed, ("epochs",))}))
