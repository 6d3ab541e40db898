"""Pairwise covering of a search space: few trials which contain every possible pair of values."""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import combinations, product

from orchestrator.core.space import Parameter, ParamValue, Space
from orchestrator.core.trials.settings import RULES


def covering(
    space: Space, fixed: Mapping[str, ParamValue], names: Collection[str]
) -> tuple[dict[str, ParamValue], ...]:
    """Return trials with a value for each of ``names``; every value and every possible pair of values occurs in one.

    All combinations would be too many to try. An inactive setting takes its fixed value, else its default. For
    dropout the smallest and the largest value are used; for the rank the smallest, the largest, one odd and one even
    value; for other settings all values of ``Space.combinations``.

    Args:
        space: the searched settings.
        fixed: the fixed settings, by name.
        names: the settings to cover.
    """
    searched = [parameter.name for parameter in space.parameters if parameter.name in names]
    values = {name: _values(space, name) for name in searched}
    used: Counter[tuple[str, ParamValue]] = Counter()
    trials: list[dict[str, ParamValue]] = []
    otherwise = {name: fixed.get(name, RULES[name].default) for name in names}
    # A value may be part of no possible pair: all other parameters may be conditioned on another value.
    for pair in [*combinations(searched, 2), *((name,) for name in searched)] or [()]:
        for pair_values in product(*(values[name] for name in pair)):
            needed = dict(zip(pair, pair_values, strict=True))
            if any(needed.items() <= trial.items() for trial in trials):
                continue
            chosen = _complete(space, values, needed, used)
            if chosen is None:
                continue
            trial = {**otherwise, **{name: value for name, value in chosen.items() if name in names}}
            used.update(trial.items())
            if trial not in trials:
                trials.append(trial)
    return tuple(trials)


def _values(space: Space, name: str) -> tuple[ParamValue, ...]:
    """Return the covered values of a parameter, without duplicates."""
    every = [chosen[name] for chosen in space.combinations({name}) if name in chosen]
    if not every:
        return ()
    if name == "dropout":
        every = sorted(every, key=lambda value: float(str(value)))
        return tuple(dict.fromkeys((every[0], every[-1])))
    if name == "rank":
        ranks = sorted(int(str(value)) for value in every)
        odd, even = ([rank for rank in ranks if rank % 2 == parity] for parity in (1, 0))
        return tuple(dict.fromkeys((ranks[0], ranks[-1], *odd[:1], *even[:1])))
    return tuple(dict.fromkeys(every))


def _complete(
    space: Space,
    values: Mapping[str, tuple[ParamValue, ...]],
    needed: Mapping[str, ParamValue],
    used: Counter[tuple[str, ParamValue]],
) -> dict[str, ParamValue] | None:
    """Return a trial with the ``needed`` values and the least used values elsewhere; None if no such trial exists."""
    by_name = {parameter.name: parameter for parameter in space.parameters}
    required = _with_parents(by_name, needed)
    if required is None:
        return None
    chosen: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not parameter.is_active(chosen):
            continue
        if name in required:
            chosen[name] = required[name]
        elif name in values:
            chosen[name] = min(values[name], key=lambda value: used[name, value])
        else:
            chosen[name] = _values(space, name)[0]
    return chosen if needed.items() <= chosen.items() else None


def _with_parents(by_name: Mapping[str, Parameter], needed: Mapping[str, ParamValue]) -> dict[str, ParamValue] | None:
    """Return ``needed`` with values for the parents of its conditional parameters; None if the conditions conflict."""
    required, open_names = dict(needed), list(needed)
    while open_names:
        for parent, allowed in by_name[open_names.pop()].when.items():
            if parent not in required:
                required[parent] = allowed[0]
                open_names.append(parent)
            elif required[parent] not in allowed:
                return None
    return required
