"""The searched settings: entries of the file to parameters, and the conditions between them."""

from collections.abc import Sequence
from typing import Any

from orchestrator.core.settings import RULES
from orchestrator.core.space import Distribution, Parameter, ParamValue, Space
from orchestrator.spec.distributions import read_distribution
from orchestrator.spec.membership import distribution_problem
from orchestrator.spec.problems import KeyPath, Problems
from orchestrator.spec.sections import SpaceSection
from orchestrator.spec.settings_fields import ParameterEntry, setting_value
from orchestrator.spec.suggest import did_you_mean

SPACE: KeyPath = ("search", "space")


def read_space(section: SpaceSection, names: Sequence[str], problems: Problems) -> Space:
    """Return the space; parameters that break a rule are left out and noted.

    Args:
        section: the entries that are well formed.
        names: every name that the file writes, in its order, which is the order of proposal.
        problems: takes what is wrong.
    """
    distributions: dict[str, Distribution] = {}
    entries: dict[str, ParameterEntry] = {}
    for name in names:
        entry: ParameterEntry | None = getattr(section, name, None)
        if entry is None:
            if name in section.model_fields_set:
                problems.add((*SPACE, name), "low and high, choices or value are needed, got null", at_key=True)
            continue
        entries[name] = entry
        distribution = read_distribution(RULES[name], entry, (*SPACE, name), problems)
        if distribution is not None:
            distributions[name] = distribution
    conditions = _Conditions(names, entries, distributions, problems)
    parameters = [
        Parameter(name=name, distribution=distribution, when=conditions.of(name))
        for name, distribution in distributions.items()
    ]
    space = Space(parameters=tuple(parameters))
    if not space.searched:
        problems.follow(SPACE, "at least one setting must be searched, by low and high or by choices", at_key=True)
    return space


class _Conditions:
    """Reads ``when``: a parent stands before those that depend on it, and can take the values that they ask for."""

    def __init__(
        self,
        names: Sequence[str],
        entries: dict[str, ParameterEntry],
        distributions: dict[str, Distribution],
        problems: Problems,
    ) -> None:
        self.names = names
        self.entries = entries
        self.distributions = distributions
        self.problems = problems

    def of(self, name: str) -> dict[str, tuple[ParamValue, ...]]:
        """Return the conditions of one parameter; those that break a rule are left out and noted."""
        result = {}
        for parent, written in self.entries[name].when.items():
            path: KeyPath = (*SPACE, name, "when", parent)
            obstacle = self.obstacle(name, parent)
            if obstacle:
                self.problems.add(path, obstacle, at_key=True)
                continue
            result[parent] = self.values(path, written, parent)
        return result

    def obstacle(self, name: str, parent: str) -> str | None:
        """Return why ``name`` cannot depend on ``parent``, or None."""
        if parent not in self.names:
            hint = did_you_mean(parent, self.names) or "; only what stands in the space can be a condition"
            return f"a parameter of search.space is needed, got {parent!r}{hint}"
        cycle = self.cycle(name, parent)
        if cycle:
            return f"a parameter must not depend on itself, got {' -> '.join(cycle)}"
        if self.names.index(parent) > self.names.index(name):
            return f"a parameter that stands above {name} is needed, got {parent!r}, which stands below"
        return None

    def cycle(self, name: str, parent: str) -> list[str] | None:
        """Return the way from ``name`` over ``parent`` back to ``name``, if there is one."""
        stack = [[name, parent]]
        while stack:
            way = stack.pop()
            if way[-1] == name:
                return way
            above = self.entries[way[-1]].when if way[-1] in self.entries else {}
            stack += [[*way, further] for further in above if further == name or further not in way]
        return None

    def values(self, path: KeyPath, written: Any, parent: str) -> tuple[ParamValue, ...]:  # noqa: ANN401
        """Return the values under which the condition holds, each checked against the parent's distribution."""
        listed = written if isinstance(written, list) else [written]
        if not listed:
            self.problems.add(path, f"at least one value of {parent} is needed, got []")
        values = tuple(setting_value(RULES[parent], value) for value in listed)
        for position, value in enumerate(values):
            problem = distribution_problem(self.distributions[parent], value) if parent in self.distributions else None
            if problem:
                self.problems.add((*path, position) if isinstance(written, list) else path, problem)
        return values
