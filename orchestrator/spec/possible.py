"""Which trials a sweep file lets come, as far as some of their settings go."""

from collections.abc import Collection, Mapping

from orchestrator.core.settings import RULES
from orchestrator.core.space import ParamValue, Space


def possible(
    space: Space, fixed: Mapping[str, ParamValue], names: Collection[str]
) -> tuple[dict[str, ParamValue], ...]:
    """Return every combination of the values that these settings can have together in one trial.

    A trial in which a searched setting is inactive has what is fixed, else the default. Of a range stand its ends.
    """
    otherwise = {name: fixed.get(name, RULES[name].default) for name in names}
    return tuple({**otherwise, **chosen} for chosen in space.combinations(names))


def possible_epochs(space: Space, fixed: Mapping[str, ParamValue]) -> tuple[float, ...]:
    """Return the passes over the training rows that trials can make, ascending; of a range its ends."""
    return tuple(sorted({float(str(trial["epochs"])) for trial in possible(space, fixed, ("epochs",))}))
