"""Find an objective by name or by file, and say what it lacks. Loading one imports no heavy library."""

import difflib
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from pathlib import Path
from types import FunctionType, ModuleType

import objectives
from orchestrator.core.errors import UserError
from orchestrator.core.names import check_metric_names
from orchestrator.core.objective_facts import ObjectiveFacts
from orchestrator.objective.protocol import Objective


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
    _check_names(objective, ref)
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
    )


def _check_names(objective: Objective, ref: str) -> None:
    """Raise ``UserError`` if the objective's name is blank, or a tracking store would refuse or mix up its metrics."""
    if not isinstance(objective.name, str) or not objective.name.strip():
        raise UserError(f"objective {ref}: name must be text that is not blank, got {objective.name!r}")
    try:
        check_metric_names(objective.metrics)
    except UserError as error:
        raise UserError(f"objective {ref}: {error}") from error


def _members() -> list[str]:
    methods = [name for name, value in vars(Objective).items() if isinstance(value, FunctionType) and name[0] != "_"]
    return [*Objective.__annotations__, *methods]


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
        raise UserError(f"objective {_where(error, path)}: {type(error).__name__}: {error}") from error
    return module


def _where(error: Exception, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    return f"{path}:{line}" if line else str(path)
