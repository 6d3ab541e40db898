"""Reads ``search.space``: the parameters and the conditions between them."""

from collections.abc import Mapping, Sequence

from orchestrator.core.space import Distribution, Parameter, ParamValue, Space
from orchestrator.core.trials.settings import SettingRule
from orchestrator.spec.document.problems import KeyPath, Problems
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.sections.settings_fields import ParameterEntry, setting_value
from orchestrator.spec.sections.sweep_file import SpaceSection
from orchestrator.spec.values.distributions import distribution_problem, read_distribution

SPACE: KeyPath = ("search", "space")


def read_space(
    section: SpaceSection, names: Sequence[str], rules: Mapping[str, SettingRule], problems: Problems
) -> Space:
    """Return the space without the parameters that break a rule.

    Args:
        section: the well-formed entries.
        names: all names in the file, in its order; the sampler proposes values in this order.
        rules: the rule of each parameter.
        problems: receives the errors.
    """
    distributions: dict[str, Distribution] = {}
    entries: dict[str, ParameterEntry] = {}
    for name in names:
        entry = section.entry(name) if name in rules else None
        if entry is None:
            if name in rules and name in section.model_fields_set:
                problems.add((*SPACE, name), "low and high, choices or value are needed, got null", at_key=True)
            continue
        entries[name] = entry
        distribution = read_distribution(rules[name], entry, (*SPACE, name), problems)
        if distribution is not None:
            distributions[name] = distribution
    conditions = _Conditions(rules, entries, distributions, problems, names)
    parameters = [
        Parameter(name=name, distribution=distribution, when=conditions.of(name))
        for name, distribution in distributions.items()
    ]
    space = Space(parameters=tuple(parameters))
    if not space.searched:
        message = "at least one setting must be searched, by low and high or by choices"
        problems.add_if_unrelated(SPACE, message, at_key=True)
    return space


class _Conditions:
    """Reads ``when``. A parent must be written above its dependents and be able to take the condition's values."""

    def __init__(
        self,
        rules: Mapping[str, SettingRule],
        entries: dict[str, ParameterEntry],
        distributions: dict[str, Distribution],
        problems: Problems,
        names: Sequence[str],
    ) -> None:
        self.rules = rules
        self.names = names
        self.entries = entries
        self.distributions = distributions
        self.problems = problems

    def of(self, name: str) -> dict[str, tuple[ParamValue, ...]]:
        """Return the valid conditions of one parameter, by parent."""
        result = {}
        for parent, written in self.entries[name].when.items():
            path: KeyPath = (*SPACE, name, "when", parent)
            problem = self.parent_problem(name, parent)
            if problem:
                self.problems.add(path, problem, at_key=True)
                continue
            result[parent] = self.values(path, written, parent)
        return result

    def parent_problem(self, name: str, parent: str) -> str | None:
        """Return an error message if ``name`` cannot depend on ``parent``, else None."""
        if parent not in self.names:
            return f"a parameter of search.space is needed, got {parent!r}{did_you_mean(parent, self.names)}"
        cycle = self.cycle(name, parent)
        if cycle:
            return f"a parameter must not depend on itself, got {' -> '.join(cycle)}"
        if self.names.index(parent) > self.names.index(name):
            return f"a parameter written above {name} is needed, got {parent!r}, which is written below"
        return None

    def cycle(self, name: str, parent: str) -> list[str] | None:
        """Return a cycle of conditions from ``name`` over ``parent`` back to ``name``, or None."""
        stack = [[name, parent]]
        while stack:
            cycle = stack.pop()
            if cycle[-1] == name:
                return cycle
            parents = self.entries[cycle[-1]].when if cycle[-1] in self.entries else {}
            stack += [[*cycle, above] for above in parents if above == name or above not in cycle]
        return None

    def values(self, path: KeyPath, written: ParamValue | list[ParamValue], parent: str) -> tuple[ParamValue, ...]:
        """Return the parent's values for which the condition holds; values outside its distribution are problems."""
        listed = written if isinstance(written, list) else [written]
        if not listed:
            self.problems.add(path, f"at least one value of {parent} is needed, got []")
        rule = self.rules.get(parent)
        values = tuple(value if rule is None else setting_value(rule, value) for value in listed)
        for position, value in enumerate(values):
            problem = distribution_problem(self.distributions[parent], value) if parent in self.distributions else None
            if problem:
                self.problems.add((*path, position) if isinstance(written, list) else path, problem)
        return values
