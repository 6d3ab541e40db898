"""Reads the objective ``my_run.py:run`` with its section ``function``. The file is parsed, not executed."""

import ast
import shutil
from collections.abc import Mapping
from pathlib import Path

from orchestrator.core.errors import UserError
from orchestrator.core.names import check_metric_names
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.sweeps.policy import PriorName
from orchestrator.core.system.python_file import parsed_file
from orchestrator.core.tasks.function import FunctionPlan, file_digest, split_reference
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.spec.document.problems import Problems, yaml_text
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.sections.function import FunctionSection
from orchestrator.spec.sections.sweep_file import SweepFile
from orchestrator.spec.values.sources import SourceReader

_ITS_OWN = ("model", "quantisation", "data", "adapter", "training", "preference")
_PARAMETERS = {"run": "config and report", "test": "config and checkpoint"}


def read_function(file: SweepFile, sources: SourceReader, problems: Problems) -> FunctionPlan | None:
    """Return the function of a sweep; None if the objective names none, or after a problem."""
    reference = split_reference(file.objective)
    if reference is None:
        _refuse_keys_of_functions(file, problems)
        return None
    _refuse_keys_of_objectives(file, problems)
    section = file.function or FunctionSection()
    for key in ("samples", "metrics"):
        if not getattr(section, key):
            problems.add_if_unrelated(("function", key), "is required for a function", at_key=True)
    _check_metrics(section, problems)
    path = sources.find(reference[0])
    if path is None:
        reason = sources.not_found_reason(reference[0]).removesuffix(" or folder")
        problems.add(("objective",), f"{reason}, got {yaml_text(file.objective)}")
        return None
    if not _check_functions(path, {"run": reference[1], "test": section.test}, problems):
        return None
    python = None if section.python is None else _interpreter(section.python, sources, problems)
    return FunctionPlan(
        path=str(path),
        name=reference[1],
        samples=section.samples or 1,
        metrics=section.metrics,
        python=python,
        test=section.test,
        digest=file_digest(path),
    )


def function_facts(function: FunctionPlan) -> ObjectiveFacts | None:
    """Return the facts of a function as an objective; the first metric is the default one. None without metrics."""
    if not function.metrics:
        return None
    return ObjectiveFacts(
        metrics=function.metrics,
        default_metric=f"val/{next(iter(function.metrics))}",
        default_model=function.source,
        default_source=function.source,
        labels=(),
    )


def _refuse_keys_of_functions(file: SweepFile, problems: Problems) -> None:
    if file.function is not None:
        message = f"applies only to an objective such as my_run.py:run, got objective={yaml_text(file.objective)}"
        problems.add_if_unrelated(("function",), message, at_key=True)
    if file.resources.engine is EngineName.FUNCTION:
        message = f"function needs an objective such as my_run.py:run, got objective={yaml_text(file.objective)}"
        problems.add(("resources", "engine"), message)


def _refuse_keys_of_objectives(file: SweepFile, problems: Problems) -> None:
    for key in _ITS_OWN:
        if key in file.model_fields_set:
            message = "a function reads its model and its data itself; remove this key, or use function.values"
            problems.add_if_unrelated((key,), message, at_key=True)
    engine = file.resources.engine
    if "engine" in file.resources.model_fields_set and engine is not EngineName.FUNCTION:
        problems.add(("resources", "engine"), f"function is needed for a function, or no key, got {engine}")
    if "prior" in file.search.model_fields_set and file.search.prior is not PriorName.NONE:
        message = f"none is needed for a function, or no key: priors belong to base models, got {file.search.prior}"
        problems.add(("search", "prior"), message)
    if file.learning_curve is not None:
        message = "a function reads its rows itself, so trials on shares of the rows are not possible; remove this key"
        problems.add(("learning_curve",), message, at_key=True)
    if file.gates.forgetting is not None:
        message = "a function has no base model whose forgetting could be measured; remove this key"
        problems.add(("gates", "forgetting"), message, at_key=True)
    if file.tracking.record:
        message = "a function has no test rows to record for a trial table; remove this key"
        problems.add(("tracking", "record"), message, at_key=True)


def _check_metrics(section: FunctionSection, problems: Problems) -> None:
    for name in section.metrics:
        if "/" in name:
            known = f"{name.rpartition('/')[2]!r} stands for val/{name.rpartition('/')[2]}"
            message = f"a name without a split is needed, because {known}, got {name!r}"
            problems.add(("function", "metrics", name), message, at_key=True)
    try:
        check_metric_names(section.metrics)
    except UserError as error:
        problems.add_if_unrelated(("function", "metrics"), str(error))


def _check_functions(path: Path, wanted: Mapping[str, str | None], problems: Problems) -> bool:
    """Check that the file defines the functions, each with two parameters; return whether it can be read."""
    try:
        defined = _defined(path)
    except UserError as error:
        problems.add(("objective",), str(error))
        return False
    for role, name in wanted.items():
        key = ("objective",) if role == "run" else ("function", role)
        if name is None:
            continue
        if name not in defined:
            hint = did_you_mean(name, [*defined])
            message = f"{path.name} must define a function at its top level, got {name!r}{hint}"
            problems.add(key, message)
            continue
        arguments = defined[name]
        if arguments is not None and not _takes_two(arguments):
            problems.add(key, f"{name} in {path.name} must take two arguments, {_PARAMETERS[role]}")
    return True


def _takes_two(arguments: ast.arguments) -> bool:
    places = [*arguments.posonlyargs, *arguments.args]
    required = len(places) - len(arguments.defaults)
    keywords = [default for default in arguments.kw_defaults if default is None]
    return required <= 2 and (len(places) >= 2 or arguments.vararg is not None) and not keywords


def _defined(path: Path) -> dict[str, ast.arguments | None]:
    """Return the names bound at the top level of a file, with the parameters of its functions."""
    module = parsed_file(path, str(path))
    found: dict[str, ast.arguments | None] = {}
    for node in ast.walk(module):  # a name may be bound inside an if or a try
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= dict.fromkeys(item.asname or item.name for item in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found[node.id] = None
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef):
            found[statement.name] = statement.args
    return found


def _interpreter(written: str, sources: SourceReader, problems: Problems) -> str | None:
    """Return the absolute path of an interpreter. A link is kept: it decides the virtual environment."""
    place = sources.find_unresolved(written)
    found = shutil.which(written) if place is None else shutil.which(str(place))
    if found is None:
        problems.add(("function", "python"), f"the path of a Python interpreter is needed, got {yaml_text(written)}")
    return found
