"""Reads one entry of the search space into its distribution, and checks values against a distribution."""

import math
from typing import cast

from orchestrator.core.space import Choices, Constant, Distribution, FloatRange, IntRange, ParamValue
from orchestrator.core.trials.settings import SettingRule
from orchestrator.spec.document.problems import KeyPath, Problems, yaml_text
from orchestrator.spec.sections.settings_fields import ParameterEntry, setting_problem, setting_value

MAX_STEPS = 2_000_000
"""Most steps of a range; samplers and grids enumerate them."""
_LISTED = 20
_KINDS = {str: "text", bool: "boolean"}
_NUMBERS = {int: "an integer", float: "a number"}


def read_distribution(
    rule: SettingRule, entry: ParameterEntry, path: KeyPath, problems: Problems
) -> Distribution | None:
    """Return the distribution of one setting; None after a problem.

    Args:
        rule: the setting's kind and range.
        entry: the entry of the sweep file.
        path: the entry's key path.
        problems: receives the errors.
    """
    return _Reader(rule, entry, path, problems).distribution()


def distribution_problem(distribution: Distribution, value: ParamValue) -> str | None:
    """Return an error message if ``value`` lies outside ``distribution``, else None."""
    if isinstance(distribution, Choices):
        if value in distribution.choices:
            return None
        listed = ", ".join(yaml_text(choice) for choice in distribution.choices[:_LISTED])
        more = f", ... ({len(distribution.choices)} in all)" if len(distribution.choices) > _LISTED else ""
        return f"one of the choices {listed}{more} is needed, got {yaml_text(value)}"
    if isinstance(distribution, Constant):
        fixed = yaml_text(distribution.value)
        return None if value == distribution.value else f"the fixed value {fixed} is needed, got {yaml_text(value)}"
    low, high, step = distribution.low, distribution.high, distribution.step
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return f"a value in [{low}, {high}] is needed, got {yaml_text(value)}"
    if step is not None and not _on_grid(value, low, step):
        return f"low={low} plus a multiple of step={step} is needed, got {yaml_text(value)}"
    return None


def _on_grid(value: float, low: float, step: float) -> bool:
    """Return whether ``value`` is ``low`` plus a whole number of steps, up to rounding."""
    steps = (value - low) / step
    return math.isfinite(steps) and abs(steps - round(steps)) < 1e-6


class _Reader:
    def __init__(self, rule: SettingRule, entry: ParameterEntry, path: KeyPath, problems: Problems) -> None:
        self.rule = rule
        self.entry = entry
        self.problems = problems
        self.path = path
        self.given = entry.model_fields_set - {"when"}

    def distribution(self) -> Distribution | None:
        forms = {
            "low and high": self.given & {"low", "high", "log", "step"},
            "choices": self.given & {"choices"},
            "value": self.given & {"value"},
        }
        used = [form for form, keys in forms.items() if keys]
        if len(used) != 1:
            got = " with ".join(used) if used else "none of them"
            self.refuse((), f"low and high, choices or value are needed, got {got}")
            return None
        if self.given >= {"choices"}:
            return self.choices()
        if self.given >= {"value"}:
            value = self.value("value", self.entry.value)
            return None if self.problems.is_broken(self.path) else Constant(value=value)
        return self.range()

    def choices(self) -> Distribution | None:
        if not self.entry.choices:
            self.refuse(("choices",), "at least one choice is needed, got []")
        seen: dict[ParamValue, None] = {}
        for position, choice in enumerate(self.entry.choices):
            value = self.value(("choices", position), choice)
            if value in seen:
                self.refuse(("choices", position), f"duplicate choice {yaml_text(value)}")
            seen[value] = None
        return None if self.problems.is_broken(self.path) else Choices(choices=tuple(seen))

    def range(self) -> Distribution | None:
        if self.rule.kind not in (int, float):
            self.refuse((), f"choices or value are needed for a {_KINDS[self.rule.kind]}, got low and high")
            return None
        for key in ("low", "high"):
            if key not in self.given:
                self.refuse((), f"low and high are both needed, {key} is missing")
        low, high, step = self.number("low"), self.number("high"), self.step()
        if self.problems.is_broken(self.path) or low is None or high is None:
            return None
        if not low < high:
            self.refuse((), f"low < high must hold, got low={yaml_text(low)}, high={yaml_text(high)}")
        elif self.entry.log and low <= 0:
            self.refuse(("low",), f"log needs low > 0, got {yaml_text(low)}")
        elif step is not None and (high - low) / step > MAX_STEPS:
            self.refuse(("step",), f"at most {MAX_STEPS:,} steps from low to high are possible, got {yaml_text(step)}")
        elif step is not None and not _on_grid(high, low, step):
            self.refuse((), f"high - low must be a multiple of step, got low={low}, high={high}, step={step}")
        if self.problems.is_broken(self.path):
            return None
        if self.rule.kind is int:
            return IntRange(low=int(low), high=int(high), log=self.entry.log, step=int(step or 1))
        return FloatRange(low=low, high=high, log=self.entry.log, step=step)

    def number(self, key: str) -> float | None:
        if key not in self.given:
            return None
        value = getattr(self.entry, key)
        if value is None:
            self.refuse((key,), f"{_NUMBERS[self.rule.kind]} is needed, got null")
            return None
        number = self.value(key, value)
        return None if self.problems.is_broken((*self.path, key)) else cast("float", number)

    def step(self) -> float | None:
        if self.entry.step is None:
            return None
        step = setting_value(self.rule, self.entry.step)
        if not isinstance(step, int if self.rule.kind is int else int | float) or isinstance(step, bool) or step <= 0:
            self.refuse(("step",), f"{_NUMBERS[self.rule.kind]} > 0 is needed, got {yaml_text(step)}")
        elif self.entry.log:
            self.refuse(("step",), f"step and log exclude each other, got step={yaml_text(step)} with log")
        else:
            return float(step)
        return None

    def value(self, key: str | tuple[str, int], value: ParamValue) -> ParamValue:
        """Return a value converted to the setting's kind; a broken rule is added to the problems."""
        value = setting_value(self.rule, value)
        problem = setting_problem(self.rule, value)
        if problem:
            self.refuse((key,) if isinstance(key, str) else key, problem)
        return value

    def refuse(self, inner: KeyPath, message: str) -> None:
        if not inner or not self.problems.is_broken((*self.path, *inner)):
            self.problems.add((*self.path, *inner), message, at_key=not inner)
