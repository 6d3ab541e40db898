"""A few trials that stand for all that may come: every two values of two settings that can meet do meet in one."""

from collections import Counter
from collections.abc import Collection, Mapping
from itertools import combinations, product

from orchestrator.core.settings import RULES
from orchestrator.core.space import Parameter, ParamValue, Space


def covering(
    space: Space, fixed: Mapping[str, ParamValue], names: Collection[str]
) -> tuple[dict[str, ParamValue], ...]:
    """Return trials, each with a value for all of ``names``, that hold every possible pair of values of two of them.

    All combinations would be far too many to try. What a trial does not choose is fixed, else the default. Of dropout
    stand 0 and the largest value, of a rank the ends and one of each parity: of other numbers, all that
    ``Space.combinations`` has.
    """
    searched = [parameter.name for parameter in space.parameters if parameter.name in names]
    values = {name: _values(space, name) for name in searched}
    used: Counter[tuple[str, ParamValue]] = Counter()
    found: list[dict[str, ParamValue]] = []
    otherwise = {name: fixed.get(name, RULES[name].default) for name in names}
    for pair in combinations(searched, 2) if len(searched) > 1 else [tuple(searched)]:
        for wanted in product(*(values[name] for name in pair)):
            needed = dict(zip(pair, wanted, strict=True))
            if any(needed.items() <= trial.items() for trial in found):
                continue
            chosen = _complete(space, values, needed, used)
            if chosen is None:
                continue
            trial = {**otherwise, **{name: value for name, value in chosen.items() if name in names}}
            used.update(trial.items())
            if trial not in found:
                found.append(trial)
    return tuple(found)


def _values(space: Space, name: str) -> tuple[ParamValue, ...]:
    """Return the values of a parameter that are tried."""
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
    """Return a trial that holds what is needed, and elsewhere what was used least; None if no trial can hold it."""
    by_name = {parameter.name: parameter for parameter in space.parameters}
    wanted = _with_parents(by_name, needed)
    if wanted is None:
        return None
    chosen: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        name = parameter.name
        if not parameter.is_active(chosen):
            continue
        if name in wanted:
            chosen[name] = wanted[name]
        elif name in values:
            chosen[name] = min(values[name], key=lambda value: used[name, value])
        else:
            chosen[name] = _values(space, name)[0]
    return chosen if needed.items() <= chosen.items() else None


def _with_parents(by_name: Mapping[str, Parameter], needed: Mapping[str, ParamValue]) -> dict[str, ParamValue] | None:
    """Return the values with those of the parameters on which they are conditioned; None if they contradict."""
    wanted, open_names = dict(needed), list(needed)
    while open_names:
        for parent, allowed in by_name[open_names.pop()].when.items():
            if parent not in wanted:
                wanted[parent] = allowed[0]
                open_names.append(parent)
            elif wanted[parent] not in allowed:
                return None
    return wanted
