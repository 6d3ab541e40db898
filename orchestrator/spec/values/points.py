"""Reads ``search.start``: partial configurations to try before the sampler's own proposals."""

from collections.abc import Mapping, Sequence

from orchestrator.core.space import Parameter, ParamValue, Space
from orchestrator.core.trials.settings import SettingRule
from orchestrator.spec.document.problems import KeyPath, Problems
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.sections.settings_fields import setting_value
from orchestrator.spec.values.distributions import distribution_problem

START: KeyPath = ("search", "start")


def read_points(
    written: Sequence[Mapping[str, ParamValue]],
    space: Space,
    names: Sequence[str],
    rules: Mapping[str, SettingRule],
    problems: Problems,
) -> tuple[Mapping[str, ParamValue], ...]:
    """Return the start points with values converted to the settings' kinds.

    Args:
        written: the points from the file.
        space: the well-formed parameters.
        names: all names in the file's space, including parameters with errors.
        rules: the rule of each parameter.
        problems: receives an error for each value outside the space.
    """
    parameters = {parameter.name: parameter for parameter in space.parameters}
    points: list[Mapping[str, ParamValue]] = []
    for position, raw in enumerate(written):
        path: KeyPath = (*START, position)
        for name in raw:
            if name not in names:
                message = f"a parameter of search.space is needed, got {name!r}{did_you_mean(name, names)}"
                problems.add((*path, name), message, at_key=True)
        point = {name: setting_value(rules[name], value) for name, value in raw.items() if name in rules}
        for name, value in point.items():
            if name in parameters:
                problem = distribution_problem(parameters[name].distribution, value) or _inactive(
                    parameters[name], point
                )
                if problem and not problems.is_broken((*path, name)):
                    problems.add((*path, name), problem)
        if not point:
            problems.add_if_unrelated(path, "at least one parameter is needed, got {}")
        elif point in points:
            problems.add(path, f"duplicate of search.start.{points.index(point)}")
        points.append(point)
    return tuple(points)


def _inactive(parameter: Parameter, point: Mapping[str, ParamValue]) -> str | None:
    """Return an error message if the point's own values deactivate the parameter, else None."""
    for parent, values in parameter.when.items():
        if parent in point and point[parent] not in values:
            return f"is inactive in this point: its condition on {parent} excludes {parent}={point[parent]!r}"
    return None
