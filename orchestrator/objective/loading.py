"""Loads an objective by name or file and checks its members. Imports no heavy library."""

import copy
import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import objectives
from orchestrator.core.errors import UserError
from orchestrator.core.names import check_metric_names
from orchestrator.core.tasks.function import split_reference
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.core.tasks.problem import Problem
from orchestrator.objective.guard import guard, line_in
from orchestrator.objective.protocol import (
    Head,
    LossOfSettings,
    Objective,
    WritesAnswers,
    generation_metrics,
    problem_of,
)


def objective_names() -> tuple[str, ...]:
    """Return the names of the shipped objectives, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(objectives.__path__)))


def load_objective(
    ref: str, classes: Sequence[str] = (), chat_template: str | None = None, prompt: str | None = None
) -> Objective:
    """Return an objective.

    Args:
        ref: the name of a module in ``objectives``, or the path of a ``.py`` file; both set ``OBJECTIVE``.
        classes: see ``with_classes``.
        chat_template: the text of ``data.chat_template``; None: conversations are rendered by the tokenizer's own.
        prompt: the text of ``data.prompt``; None: the objective's own.

    Raises:
        UserError: the objective does not exist, its file raises, members of the protocol are missing, or there is a
            chat template for an objective without conversations, or a prompt for one without answers.
    """
    if split_reference(ref) is not None:
        raise UserError(f"{ref} is a function: it reads its model and its rows itself, so they cannot be shown here")
    module = _from_file(Path(ref)) if ref.endswith(".py") else _by_name(ref)
    objective: Objective | type | None = getattr(module, "OBJECTIVE", None)
    if objective is None:
        raise UserError(f"objective {ref}: the file sets no OBJECTIVE; end it with `OBJECTIVE = MyObjective()`")
    if isinstance(objective, type):
        raise UserError(
            f"objective {ref}: OBJECTIVE is a class; an instance is needed, `OBJECTIVE = {objective.__name__}()`"
        )
    check_members(ref, present := members_of(objective), present)
    if ref.endswith(".py"):
        guard(objective, _hooks())
    return with_classes(_with_prompt(_with_template(objective, chat_template), prompt), classes)


def _with_prompt(objective: Objective, prompt: str | None) -> Objective:
    if prompt is None:
        return objective
    if not isinstance(objective, WritesAnswers) or hasattr(objective, "chat_template"):
        raise UserError(f"data.prompt: objective {objective.name} has no prompt; remove this key")
    bound: Any = copy.copy(objective)
    bound.prompt = prompt
    prompting: Objective = bound
    return prompting


def _with_template(objective: Objective, chat_template: str | None) -> Objective:
    if chat_template is None:
        return objective
    if not hasattr(objective, "chat_template"):
        raise UserError(f"data.chat_template: objective {objective.name} has no conversations; remove this key")
    bound: Any = copy.copy(objective)
    bound.chat_template = chat_template
    rendering: Objective = bound
    return rendering


def with_classes(objective: Objective, classes: Sequence[str]) -> Objective:
    """Return an objective with the classes found in its data; unchanged if it states its own, or none were found.

    Args:
        objective: the objective.
        classes: class names in the order of their ids, from ``DataPlan.classes`` or ``DataSummary.classes``.
    """
    if objective.labels or not classes:
        return objective
    bound = copy.copy(objective)
    bound.labels = tuple(classes)
    return bound


def check_members(ref: str, values: Mapping[str, object], present: Collection[str]) -> None:
    """Check an objective's members against the protocol.

    Args:
        ref: the objective's name or path in the sweep file.
        values: the known values of its members, by name.
        present: the names of its members.

    Raises:
        UserError: members are missing, or the labels or metrics are invalid.
    """
    missing = [name for name in member_names() if name not in present]
    if missing:
        raise UserError(
            f"objective {ref}: OBJECTIVE lacks {', '.join(missing)}; see orchestrator/objective/protocol.py"
        )
    _check_names(ref, values)
    for name, known in (("head", Head), ("problem", Problem)):
        if name in values and values[name] not in [*known]:
            raise UserError(
                f"objective {ref}: {name} must be one of {', '.join(known)}, got {values[name]!r}; no engine trains "
                "another"
            )
    if "labels" in values:
        _check_classes(ref, values["labels"], values.get("problem"))
    metrics, default = values.get("metrics"), values.get("default_metric")
    if not isinstance(metrics, Mapping):
        return
    split, _, metric = str(default or "").partition("/")
    if default is not None and (split != "val" or metric not in metrics):
        raise UserError(
            f"objective {ref}: default_metric must be val/ and one of {', '.join(map(str, metrics))}, got {default!r}"
        )
    if "loss" not in metrics:
        raise UserError(f"objective {ref}: metrics must contain loss, reported by every engine")


def objective_facts(ref: str) -> ObjectiveFacts:
    """Return an objective's facts for the checks of a sweep file.

    Raises:
        UserError: as ``load_objective``.
    """
    objective = load_objective(ref)
    return ObjectiveFacts(
        metrics={**objective.metrics, **generation_metrics(objective)},
        generated=frozenset(generation_metrics(objective)),
        default_metric=objective.default_metric,
        default_model=objective.default_model,
        default_source=objective.default_source,
        labels=None if finds_classes(objective) else tuple(objective.labels),
        loss_settings=objective.loss_settings if isinstance(objective, LossOfSettings) else (),
        one_class=problem_of(objective) is Problem.SINGLE_LABEL,
    )


def finds_classes(objective: Objective) -> bool:
    """Return whether the classes are only known after the rows are read."""
    return not objective.labels and objective.head.classifies


def _check_names(ref: str, values: Mapping[str, object]) -> None:
    """Raise ``UserError`` if the objective's name is blank, or MLflow would refuse or merge its metric names."""
    name, metrics = values.get("name"), values.get("metrics")
    if "name" in values and (not isinstance(name, str) or not name.strip()):
        raise UserError(f"objective {ref}: name must be text that is not blank, got {name!r}")
    if isinstance(metrics, Mapping):
        try:
            check_metric_names(metrics)
        except UserError as error:
            raise UserError(f"objective {ref}: {error}") from error


def _check_classes(ref: str, labels: object, problem: object) -> None:
    """Raise ``UserError`` if two class names are equal except for case, or there is one only."""
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise UserError(f"objective {ref}: labels must be a tuple of class names, got {labels!r}")
    for label in labels:
        if not isinstance(label, str) or not label or label != label.strip():
            raise UserError(
                f"objective {ref}: labels must contain class names as text without spaces around them, got {label!r}"
            )
    known: dict[str, str] = {}
    for label in labels:
        other = known.pop(label.casefold(), None)
        known[label.casefold()] = label
        if other is not None:
            how = "is a duplicate" if other == label else f"and {other!r} differ only in case"
            raise UserError(
                f"objective {ref}: label {label!r} {how}; give each class its own name, and map the data's values "
                "to them with data.labels: {VALUE: CLASS}"
            )
    if len(labels) == 1 and problem is not Problem.REGRESSION:
        raise UserError(
            f"objective {ref}: labels contain 1 class; a classifier needs at least two. With labels = () they are "
            "found in the data"
        )


def members_of(objective: object) -> dict[str, object]:
    """Return the members of an objective that the protocol names, and its ``problem`` if it has one."""
    return {name: getattr(objective, name) for name in (*member_names(), "problem") if hasattr(objective, name)}


def member_names() -> list[str]:
    """Return the names of the protocol's members."""
    return [*Objective.__annotations__, *_hooks()]


def _hooks() -> list[str]:
    return [name for name, value in vars(Objective).items() if isinstance(value, FunctionType) and name[0] != "_"]


def _by_name(name: str) -> ModuleType:
    names = objective_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"unknown objective {name!r}; {hint}Known: {', '.join(names)}, or the path of a .py file")
    return importlib.import_module(f"objectives.{name}")


def _from_file(path: Path) -> ModuleType:
    """Import a file as a module named by its path and content: files with equal names do not collide."""
    path = path.expanduser().absolute()
    if not path.is_file():
        raise UserError(f"objective file {path} does not exist")
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    name = f"loratory_objective_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a loader exists for names ending in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may raise any exception; each becomes a message
        del sys.modules[name]
        raise UserError(f"objective {line_in(error, str(path))}: {type(error).__name__}: {error}") from error
    return module
