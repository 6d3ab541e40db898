"""Try the adapters of a search space on the model's structure, before the first trial."""

import logging
import math
from collections.abc import Mapping, Sequence

from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import LENGTH, METHODS, OPTIONS, VIRTUAL_TOKENS, takers
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EngineName, EnginePlan, Precision
from orchestrator.core.trials.settings import RULES, TrialSettings
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.checks.model_notes import model_notes
from orchestrator.training.checks.positions import position_bound
from orchestrator.training.model.adapters import adapt, reason_of
from orchestrator.training.model.base_model import Base
from orchestrator.training.model.structure import copy_structure, load_structure, without_repetitions
from orchestrator.training.process.hardware import choose_device, number_format
from orchestrator.training.process.memory import out_of_memory

logger = logging.getLogger(__name__)
_ORDER = ("dropout", "dora", "init", "rslora", "rank", "target_modules", "method")
"""Settings in the order in which alternatives are suggested; options of the method come first."""


def check_adapters(plan: EnginePlan, objective: Objective, structure: Base | None = None) -> tuple[str, ...]:
    """Try the adapters of ``plan.tried``; return remarks for the user on adapters and model, a sentence each.

    Nothing is trained and no weight is read. If the model's structure cannot be built without weights, the check is
    skipped, and errors appear when the engine loads the weights.

    Args:
        plan: has the adapters and the base model.
        objective: determines the head.
        structure: the base model without weights; None: it is loaded.

    Raises:
        UserError: peft refuses some adapters; the message has a line per refused value.
        AssetError: the model is missing or cannot be reached.
    """
    if not plan.tried:
        return ()
    try:
        base = structure or load_structure(plan.model, objective)
    except (NotImplementedError, RuntimeError, ImportError) as error:
        if out_of_memory(error):
            raise
        logger.warning("%s has no structure without weights: %s", plan.model, error)
        return ()
    supported = [_supported(trial) for trial in plan.tried]
    trials = [trial for at, trial in enumerate(supported) if trial not in supported[:at]]
    attempts = _Attempts(base, objective.head, plan)
    refused = [reduced for trial in trials if attempts.refusal(trial) for reduced in _reduced(attempts, trial)]
    _require_positions(base, plan, trials)
    if refused:
        lines = [_line(attempts, trial, trials, plan.searched) for trial in refused]
        raise UserError("\n".join(dict.fromkeys(lines)))
    held_in = number_format(plan.precision, choose_device(plan.device))
    packed = plan.engine is EngineName.PACKED and held_in is not Precision.FLOAT32
    return model_notes(base, objective.head, trials, plan.quantisation, 2 if packed else 4)


def _require_positions(base: Base, plan: EnginePlan, trials: Sequence[Mapping[str, ParamValue]]) -> None:
    """Raise ``UserError`` if the virtual tokens of a prompt and the longest row exceed the model's positions."""
    bound = position_bound(base.model)
    longest = TrialSettings.from_params(plan.largest).max_length
    for trial in trials:
        if bound is None or not METHODS[str(trial["method"])].is_prompt:
            continue
        virtual = int(str(trial.get(f"{OPTIONS}num_virtual_tokens") or VIRTUAL_TOKENS))
        if longest + virtual > bound:
            raise UserError(
                f"data.max_length: at most {bound - virtual} tokens fit beside the {virtual} virtual tokens of "
                f"{trial['method']} ({bound} positions), got {longest}"
            )


class _Attempts:
    """Puts adapters on copies of a structure, and caches the results."""

    def __init__(self, base: Base, head: Head, plan: EnginePlan) -> None:
        self._plan = plan
        self._whole, self._small, self._head = base, without_repetitions(base), head
        self._reasons: dict[tuple[tuple[str, ParamValue], ...], str | None] = {}

    def refusal(self, trial: Mapping[str, ParamValue]) -> str | None:
        """Return peft's reason to refuse a trial's adapter, or None."""
        key = tuple(sorted(trial.items()))
        if key not in self._reasons:
            why = self._try(copy_structure(self._small), trial)
            # Only the whole model has all layer numbers, which may be part of a target's name.
            self._reasons[key] = None if why is None else self._try(copy_structure(self._whole), trial)
        return self._reasons[key]

    def _try(self, base: Base, trial: Mapping[str, ParamValue]) -> str | None:
        import torch

        try:
            with torch.device("meta"):
                adapt(base, TrialSettings.from_params(trial), self._head, updates=self._fewest_updates(trial))
        except UserError as error:
            return reason_of(error)
        except (NotImplementedError, RuntimeError) as error:  # an operation on missing weights
            logger.warning("no adapter can be tried without weights: %s", error)
        return None

    def _fewest_updates(self, trial: Mapping[str, ParamValue]) -> int:
        """Return the optimizer steps of the trial; a setting of its length that it lacks is that of the largest."""
        settings = TrialSettings.from_params({**self._plan.largest, **trial})
        return math.ceil(self._plan.timetable.of(settings)[-1] / settings.rows_per_update)


def _supported(trial: Mapping[str, ParamValue]) -> dict[str, ParamValue]:
    """Return the settings of the trial supported by its method."""
    return {name: value for name, value in trial.items() if trial["method"] in takers(name)}


def _reduced(attempts: _Attempts, trial: Mapping[str, ParamValue]) -> list[dict[str, ParamValue]]:
    """Return simpler refused trials, each with one setting of ``trial`` and defaults otherwise; or the trial itself."""
    with_options = any(name.startswith(OPTIONS) for name in trial)
    base = ("method", "target_modules", *(("rank", *LENGTH) if with_options else ()))
    kept = {name: trial[name] for name in base if name in trial}  # to which options may be related
    alone = [
        {**kept, **{other: RULES[other].default for other in trial if other not in kept}, name: value}
        for name, value in trial.items()
        if name not in kept
    ]
    plain = _supported({**{name: RULES[name].default for name in trial}, **kept})
    if attempts.refusal(plain) is not None:
        return [plain]
    return [one for one in alone if attempts.refusal(one) is not None] or [dict(trial)]


def _line(
    attempts: _Attempts,
    trial: Mapping[str, ParamValue],
    trials: Sequence[Mapping[str, ParamValue]],
    searched: Sequence[str],
) -> str:
    """Return a line for the user: the settings in question, peft's reason, and possible values."""
    instead: dict[str, ParamValue] = {}
    order = (*(name for name in trial if name.startswith(OPTIONS)), *_ORDER)
    for name in (name for name in order if name in trial):
        others = [RULES[name].default, *(other[name] for other in trials if name in other)]
        for value in others:
            changed = _supported({**trial, name: value})
            if value != trial[name] and attempts.refusal(changed) is None:
                instead[name] = value
                break
    own = [name for name in order if name in trial and (name in searched or trial[name] != RULES[name].default)]
    first, *further = list(instead) or own or ["method"]
    place = f"search.space.{first}" if first in searched else f"adapter.{first}"
    why = attempts.refusal(trial) or ""
    if why.startswith("target_modules: "):
        return why.replace("target_modules", place, 1)
    values = " with ".join(_value(name, trial[name]) for name in (first, *further))
    possible = " or ".join(_value(name, value) for name, value in instead.items())
    return f"{place}: {values} cannot be trained on this model: {why}" + (f"; possible: {possible}" if possible else "")


def _value(name: str, value: ParamValue) -> str:
    if value is None:
        return f"no {name}"
    return f"{name} {str(value).lower() if isinstance(value, bool) else value}"
