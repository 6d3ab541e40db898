"""One entry of the space to its distribution, and what its bounds, step and choices may not be."""

from typing import Any

from orchestrator.core.settings import SettingRule
from orchestrator.core.space import Choices, Constant, Distribution, FloatRange, IntRange, ParamValue
from orchestrator.spec.membership import on_grid
from orchestrator.spec.problems import KeyPath, Problems, shown
from orchestrator.spec.settings_fields import ParameterEntry, setting_problem, setting_value

MOST_STEPS = 2_000_000
"""Steps of a range, which samplers and grids count one by one."""
_KINDS = {str: "text", bool: "switch"}
_NUMBERS = {int: "an integer", float: "a number"}


def read_distribution(
    rule: SettingRule, entry: ParameterEntry, path: KeyPath, problems: Problems
) -> Distribution | None:
    """Return the distribution of one setting; None if the entry at ``path`` breaks a rule, which is noted."""
    return _Reader(rule, entry, path, problems).distribution()


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
                self.refuse(("choices", position), f"each choice may stand once, got {shown(value)} again")
            seen[value] = None
        return None if self.problems.is_broken(self.path) else Choices(choices=tuple(seen))

    def range(self) -> Distribution | None:
        if self.rule.kind not in (int, float):
            self.refuse((), f"choices or value are needed for a {_KINDS[self.rule.kind]}, got low and high")
            return None
        for key in ("low", "high"):
            if key not in self.given:
                self.refuse((), f"low and high are both needed, got no {key}")
        low, high, step = self.number("low"), self.number("high"), self.step()
        if self.problems.is_broken(self.path) or low is None or high is None:
            return None
        if not low < high:
            self.refuse((), f"low < high must hold, got low={shown(low)}, high={shown(high)}")
        elif self.entry.log and low <= 0:
            self.refuse(("low",), f"low > 0 must hold with log, got {shown(low)}")
        elif step is not None and (high - low) / step > MOST_STEPS:
            self.refuse(("step",), f"at most {MOST_STEPS:,} steps from low to high are possible, got {shown(step)}")
        elif step is not None and not on_grid(high, low, step):
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
        number: Any = self.value(key, value)
        return None if self.problems.is_broken((*self.path, key)) else number

    def step(self) -> float | None:
        if self.entry.step is None:
            return None
        step: Any = setting_value(self.rule, self.entry.step)
        if not isinstance(step, int if self.rule.kind is int else int | float) or isinstance(step, bool) or step <= 0:
            self.refuse(("step",), f"{_NUMBERS[self.rule.kind]} > 0 is needed, got {shown(step)}")
        elif self.entry.log:
            self.refuse(("step",), f"step and log exclude each other, got step={shown(step)} with log")
        else:
            return float(step)
        return None

    def value(self, key: str | tuple[str, int], value: Any) -> ParamValue:  # noqa: ANN401
        """Return a value in the setting's kind, and note what is wrong with it."""
        value = setting_value(self.rule, value)
        problem = setting_problem(self.rule, value)
        if problem:
            self.refuse((key,) if isinstance(key, str) else key, problem)
        return value  # type: ignore[no-any-return]

    def refuse(self, inner: KeyPath, message: str) -> None:
        if not inner or not self.problems.is_broken((*self.path, *inner)):
            self.problems.add((*self.path, *inner), message, at_key=not inner)
