"""Find an objective by name or by file, and say what it lacks. Loading one imports no heavy library."""

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import objectives
from orchestrator.core.errors import UserError
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
    missing = [name for name in _members() if not hasattr(found, name)]
    if missing:
        raise UserError(
            f"objective {ref}: OBJECTIVE lacks {', '.join(missing)}; see orchestrator/objective/protocol.py"
        )
    objective: Objective = found
    _check_classes(objective, ref)
    if ref.endswith(".py"):
        guard(objective, _hooks())
    split, _, metric = objective.default_metric.partition("/")
    if split != "val" or metric not in objective.metrics:
        raise UserError(
            f"objective {ref}: default_metric must be val/ and one of {', '.join(objective.metrics)}, "
            f"got {objective.default_metric!r}"
        )
    if "loss" not in objective.metrics:
        raise UserError(f"objective {ref}: metrics must hold loss, which every engine reports")
    return objective


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


def _check_classes(objective: Objective, ref: str) -> None:
    """Raise ``UserError`` if the class names cannot be told apart, or are too few for a classifier."""
    labels: Any = objective.labels
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise UserError(f"objective {ref}: labels must be a tuple of class names, got {labels!r}")
    for label in labels:
        if not isinstance(label, str) or not label or label != label.strip():
            raise UserError(
                f"objective {ref}: labels must hold class names as text without spaces around them, got {label!r}"
            )
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise UserError(f"objective {ref}: labels hold {twice[0]!r} twice; give each class one name")
    if len(labels) == 1 or (not labels and objective.head is Head.SEQUENCE_CLASSIFICATION):
        held = "1 class" if labels else "no class"
        raise UserError(
            f"objective {ref}: labels hold {held}; a classifier needs at least two. Regression is not supported"
        )


def _members() -> list[str]:
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
