"""Find an objective by name or by file, and say what it lacks. Loading one imports no heavy library."""

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
from orchestrator.core.objective_facts import ObjectiveFacts
from orchestrator.objective.guard import guard, line_in
from orchestrator.objective.protocol import Head, Objective


def objective_names() -> tuple[str, ...]:
    """Return the names of the objectives that are installed, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(objectives.__path__)))


def load_objective(ref: str) -> Objective:
    """Return the objective that ``ref`` names.

    Args:
        ref: the name of a module in ``objectives``, or the path of a ``.py`` file; both set ``OBJECTIVE``.

    Raises:
        UserError: there is no such objective, its file fails, or members of the protocol are missing.
    """
    module = _from_file(Path(ref)) if ref.endswith(".py") else _by_name(ref)
    found = getattr(module, "OBJECTIVE", None)
    if found is None:
        raise UserError(f"objective {ref}: the file sets no OBJECTIVE; end it with `OBJECTIVE = MyObjective()`")
    if isinstance(found, type):
        raise UserError(
            f"objective {ref}: OBJECTIVE is a class; an instance is needed, `OBJECTIVE = {found.__name__}()`"
        )
    present = {name: getattr(found, name) for name in member_names() if hasattr(found, name)}
    check_members(ref, present, present)
    objective: Objective = found
    if ref.endswith(".py"):
        guard(objective, _hooks())
    return objective


def check_members(ref: str, values: Mapping[str, Any], present: Collection[str]) -> None:
    """Check an objective's members against the protocol.

    Args:
        ref: the objective, as the sweep file names it.
        values: what is known of its members.
        present: the names of those that it has.

    Raises:
        UserError: members are missing, or the metrics break a rule.
    """
    missing = [name for name in member_names() if name not in present]
    if missing:
        raise UserError(
            f"objective {ref}: OBJECTIVE lacks {', '.join(missing)}; see orchestrator/objective/protocol.py"
        )
    _check_names(ref, values)
    if "labels" in values:
        _check_classes(ref, values["labels"], values.get("head"))
    metrics, default = values.get("metrics"), values.get("default_metric")
    if not isinstance(metrics, Mapping):
        return
    split, _, metric = str(default or "").partition("/")
    if default is not None and (split != "val" or metric not in metrics):
        raise UserError(
            f"objective {ref}: default_metric must be val/ and one of {', '.join(map(str, metrics))}, got {default!r}"
        )
    if "loss" not in metrics:
        raise UserError(f"objective {ref}: metrics must hold loss, which every engine reports")


def objective_facts(ref: str) -> ObjectiveFacts:
    """Return what a sweep file is checked against; raise what ``load_objective`` raises."""
    objective = load_objective(ref)
    return ObjectiveFacts(
        metrics=dict(objective.metrics),
        default_metric=objective.default_metric,
        default_model=objective.default_model,
        default_source=objective.default_source,
        labels=tuple(objective.labels),
    )


def _check_names(ref: str, values: Mapping[str, Any]) -> None:
    """Raise ``UserError`` if the objective's name is blank, or a tracking store would refuse or mix up its metrics."""
    if "name" in values and (not isinstance(values["name"], str) or not values["name"].strip()):
        raise UserError(f"objective {ref}: name must be text that is not blank, got {values['name']!r}")
    if isinstance(values.get("metrics"), Mapping):
        try:
            check_metric_names(values["metrics"])
        except UserError as error:
            raise UserError(f"objective {ref}: {error}") from error


def _check_classes(ref: str, labels: Any, head: Head | None) -> None:  # noqa: ANN401  (a user's)
    """Raise ``UserError`` if the class names cannot be told apart, or are too few for a classifier."""
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise UserError(f"objective {ref}: labels must be a tuple of class names, got {labels!r}")
    for label in labels:
        if not isinstance(label, str) or not label or label != label.strip():
            raise UserError(
                f"objective {ref}: labels must hold class names as text without spaces around them, got {label!r}"
            )
    known: dict[str, str] = {}
    for label in labels:
        other = known.pop(label.casefold(), None)
        known[label.casefold()] = label
        if other is not None:
            how = "is there twice" if other == label else f"and {other!r} differ in case alone"
            raise UserError(
                f"objective {ref}: label {label!r} {how}; give each class a name of its own, and map the data's values "
                "to them with data.labels: {VALUE: CLASS}"
            )
    if len(labels) == 1 or (not labels and head is Head.SEQUENCE_CLASSIFICATION):
        held = "1 class" if labels else "no class"
        raise UserError(
            f"objective {ref}: labels hold {held}; a classifier needs at least two. Regression is not supported"
        )


def member_names() -> list[str]:
    """Return the names of what an objective has, by the protocol."""
    return [*Objective.__annotations__, *_hooks()]


def _hooks() -> list[str]:
    return [name for name, value in vars(Objective).items() if isinstance(value, FunctionType) and name[0] != "_"]


def _by_name(name: str) -> ModuleType:
    names = objective_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"there is no objective {name!r}; {hint}There are: {', '.join(names)}, or the path of a .py file"
        )
    return importlib.import_module(f"objectives.{name}")


def _from_file(path: Path) -> ModuleType:
    """Import a file under a name of its own, once for each content, so that two files of one name do not collide."""
    path = path.expanduser().absolute()
    if not path.is_file():
        raise UserError(f"there is no objective file {path}")
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    name = f"loratory_objective_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the name ends in .py, so there is a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's file may raise anything; all of it becomes a message
        del sys.modules[name]
        raise UserError(f"objective {line_in(error, str(path))}: {type(error).__name__}: {error}") from error
    return module
