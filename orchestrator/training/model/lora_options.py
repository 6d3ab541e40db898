"""The options of LoRA for peft, and errors for entries without effect: peft ignores names that match nothing."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import LORA, METHODS
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.training.model.base_model import Base

if TYPE_CHECKING:
    from peft import PeftModel

_OPTION = "adapter.options."


def lora_options(base: Base, given: Mapping[str, Any], full: Sequence[str]) -> dict[str, Any]:
    """Return the options for peft's configuration.

    Modules trained in full get no adapter. The names of ``modules_to_save`` are replaced by full names, and the head's
    are added.

    Args:
        base: the base model.
        given: the options of the trial.
        full: full names of the modules trained in full, for the head and for weights missing in the model's files.

    Raises:
        UserError: a name matches no module, or a value is outside its range.
    """
    names = [name for name, _ in base.model.named_modules() if name]
    options = dict(given)
    saved = _saved(names, given.get("modules_to_save") or (), full)
    options["modules_to_save"] = saved or None
    options["exclude_modules"] = _excluded(names, given.get("exclude_modules"), saved)
    _check_values(given, "rank_pattern", lambda value: isinstance(value, int) and 1 <= value <= 1024, "an integer >= 1")
    _check_values(given, "alpha_pattern", lambda value: 0 < value <= 1e38, "a number > 0")
    parameters = [name for name, _ in base.model.named_parameters()]
    for name in given.get("target_parameters") or ():
        _require(name, any(f".{known}".endswith(f".{name}") for known in parameters), "target_parameters", "parameter")
    return options


def _saved(names: Sequence[str], given: Iterable[str], full: Sequence[str]) -> list[str]:
    found = {*full}
    for name in given:
        matched = [known for known in names if f".{known}".endswith(f".{name}")]
        _require(name, bool(matched), "modules_to_save", "module")
        found |= {*matched}
    return sorted(name for name in found if not any(name.startswith(f"{other}.") for other in found))


def _excluded(names: Sequence[str], given: str | Sequence[str] | None, saved: Sequence[str]) -> str | list[str] | None:
    """Return the names kept without an adapter; a text is a regular expression of whole paths, as in peft."""
    if isinstance(given, str):
        try:
            matched = any(re.fullmatch(given, name) for name in names)
        except re.error as error:
            raise UserError(f"{_OPTION}exclude_modules: not a regular expression, {error}; got {given}") from error
        _require(given, matched, "exclude_modules", "module")
        return "|".join([f"(?:{given})", *map(re.escape, saved)])
    for name in given or ():
        _require(name, any(f".{known}".endswith(f".{name}") for known in names), "exclude_modules", "module")
    return [*(given or ()), *saved] or None


def _check_values(given: Mapping[str, Any], option: str, accepts: Callable[[Any], bool], needed: str) -> None:
    for name, value in (given.get(option) or {}).items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and accepts(value)):
            raise UserError(f"{_OPTION}{option}: {needed} is needed for {name}, got {value!r}")


def _require(name: str, found: bool, option: str, what: str) -> None:
    if not found:
        raise UserError(f"{_OPTION}{option}: this model has no {what} called {name}")


def require_effect(model: "PeftModel", settings: TrialSettings) -> None:
    """Raise ``UserError`` for an entry of a pattern, or a layer number, without an adapted layer.

    Only entries of the trial count: peft adds patterns of its own for experts.
    """
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import get_pattern_key

    known = METHODS[LORA].options
    given: dict[str, Any] = {
        name: known[name].decoded(value) for name, value in settings.options.items() if name in known
    }
    adapted = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for option in ("rank_pattern", "alpha_pattern"):
        patterns = given.get(option) or {}
        used = {get_pattern_key([*patterns], name) for name in adapted}
        for pattern in patterns:
            if pattern not in used:
                raise UserError(f"{_OPTION}{option}: {pattern} matches no adapted layer, such as {adapted[0]}")
    numbers = given.get("layers_to_transform")
    for number in [numbers] if isinstance(numbers, int) else numbers or ():
        if not any(f".{number}." in name for name in adapted):
            raise UserError(f"{_OPTION}layers_to_transform: no adapted layer has the number {number}")
