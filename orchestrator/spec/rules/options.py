"""Reads ``adapter.options`` and checks the options of methods, fixed or searched, against peft's own types.

The types come from a table written from the installed peft, so no check imports peft.
"""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.core.methods.catalogue import METHODS, OPTIONS, OWNED, as_param
from orchestrator.core.space import Choices, Constant, ParamValue, Space
from orchestrator.core.trials.settings import RULES, SettingRule
from orchestrator.spec.document.problems import KeyPath, Problems, yaml_text
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.sections.settings_fields import ParameterEntry, free_rule
from orchestrator.spec.sections.sweep_file import SweepFile

_FIXED: KeyPath = ("adapter", "options")


def read_options(file: SweepFile, names: Sequence[str], problems: Problems) -> Mapping[str, ParamValue]:
    """Return the fixed options by their names as settings, ``options.NAME``. An unknown option is a problem.

    An option both fixed and searched is a problem too.
    """
    fixed: dict[str, ParamValue] = {}
    written: Mapping[str, object] = file.adapter.model_dump()["options"]
    for key, value in written.items():
        name, path = f"{OPTIONS}{key}", (*_FIXED, key)
        if name not in RULES:
            problems.add(path, unknown_option(key), at_key=True)
        elif name in names:
            message = f"the option is searched by search.space.{name} and fixed here; remove one of them"
            problems.add(path, message, at_key=True)
        else:
            fixed[name] = as_param(value)
    return fixed


def unknown_option(key: str) -> str:
    """Return the message for an unknown option: its owner if the product sets it, else the nearest known name."""
    if key in OWNED:
        return f"is not an option: {OWNED[key]}"
    known = sorted(name.removeprefix(OPTIONS) for name in RULES if name.startswith(OPTIONS))
    settings = {field: setting for method in METHODS.values() for setting, field in method.fields.items()}
    if key in settings:
        return f"is not an option: write adapter.{settings[key]}"
    return f"unknown option{did_you_mean(key, known) or '; docs/howto/methods.md lists the options of each method'}"


def owned_option(name: str, methods: Sequence[str]) -> str | None:
    """Return the message for an option that is a setting of one of the methods, ``r`` for ``rank``; else None."""
    for method in methods:
        for setting, field in METHODS[method].fields.items():
            if name == f"{OPTIONS}{field}":
                return f"is not an option of {method}: write adapter.{setting}"
    return None


def option_rule(name: str, entry: ParameterEntry | None) -> SettingRule:
    """Return the rule of a searched option; without a single kind the numbers of its range decide."""
    rule = RULES[name]
    return free_rule(name, ParameterEntry() if entry is None else entry) if rule.kind is object else rule


def check_options(fixed: Mapping[str, ParamValue], space: Space, methods: Sequence[str], problems: Problems) -> None:
    """Check the values of options for each possible method that has them.

    Args:
        fixed: the fixed settings.
        space: the searched settings.
        methods: the possible methods of a trial.
        problems: receives the errors.
    """
    for name, path, value in _values(fixed, space):
        key = name.removeprefix(OPTIONS)
        having = [method for method in methods if key in METHODS[method].options]
        for method in having:
            option = METHODS[method].options[key]
            problem = option.problem(value)
            if problem:
                hint = did_you_mean(value, option.choices) if isinstance(value, str) else ""
                problems.add_if_unrelated(path, f"{method}: {problem}, got {yaml_text(value)}{hint}")
    for method in methods:
        _check_needed(method, {*fixed, *(parameter.name for parameter in space.parameters)}, problems)


def _values(fixed: Mapping[str, ParamValue], space: Space) -> Iterator[tuple[str, KeyPath, ParamValue]]:
    """Yield each possible value of an option with its key path; of a range its ends."""
    for name, value in fixed.items():
        if name.startswith(OPTIONS):
            yield name, RULES[name].path, value
    for parameter in space.parameters:
        if not parameter.name.startswith(OPTIONS):
            continue
        path: KeyPath = ("search", "space", parameter.name)
        match parameter.distribution:
            case Constant(value=value):
                yield parameter.name, (*path, "value"), value
            case Choices(choices=choices):
                yield from ((parameter.name, (*path, "choices", at), value) for at, value in enumerate(choices))
            case ends:
                yield from ((parameter.name, (*path, key), getattr(ends, key)) for key in ("low", "high"))


def _check_needed(method: str, given: set[str], problems: Problems) -> None:
    """Refuse a method without an option that has no default."""
    missing = [key for key in METHODS[method].needed if f"{OPTIONS}{key}" not in given]
    if missing:
        problems.add_if_unrelated(("adapter", "method"), f"{method} needs adapter.options.{missing[0]}")
