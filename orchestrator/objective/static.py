"""Reads an objective's facts from its file without executing it: ``validate`` must be safe on unknown files.

Literals, the file's constants, members of our enums, our ``Source`` and our base classes are evaluated. Other
expressions are unknown; the sweep checks them at its start.
"""

import ast
import enum
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.metric import Direction
from orchestrator.core.system.python_file import parsed_file
from orchestrator.core.tasks.generation import GENERATION_METRICS
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.core.tasks.problem import Problem
from orchestrator.core.trials.settings import RULES, Group
from orchestrator.objective.loading import check_members, member_names, objective_facts, objective_names
from orchestrator.objective.protocol import Head

_OURS: Mapping[str, object] = {
    "Direction": Direction,
    "GENERATION_METRICS": GENERATION_METRICS,
    "Origin": Origin,
    "Head": Head,
    "Problem": Problem,
    "Source": Source,
}


class _Unknown(enum.Enum):
    UNKNOWN = enum.auto()


_UNKNOWN = _Unknown.UNKNOWN
_OTHER = Source(origin=Origin.LOCAL, name="(defined by the objective)")


def static_facts(ref: str) -> ObjectiveFacts:
    """Return an objective's facts without executing a user's file.

    Args:
        ref: the name of a shipped objective (its module is imported), or the path of a ``.py`` file (it is parsed).

    Raises:
        UserError: the file cannot be read or parsed, or members of the protocol are missing.
    """
    if not ref.endswith(".py"):
        return objective_facts(ref)
    members = _File(_parsed(Path(ref))).objective(ref)
    check_members(ref, {name: value for name, value in members.items() if value is not _UNKNOWN}, {*members})
    metrics, default = members.get("metrics", _UNKNOWN), members.get("default_metric", _UNKNOWN)
    directions = {direction.value for direction in Direction}
    stated = isinstance(metrics, Mapping) and {str(value) for value in metrics.values()} <= directions
    complete = stated and isinstance(default, str)
    generated = members.get("generation_metrics", {})
    complete = complete and isinstance(generated, Mapping)
    answers = _directions(generated) if isinstance(generated, Mapping) else {}
    model, source, labels = (members.get(name) for name in ("default_model", "default_source", "labels"))
    return ObjectiveFacts(
        metrics=(_directions(metrics) if isinstance(metrics, Mapping) else {"loss": Direction.MINIMIZE}) | answers,
        default_metric=default if isinstance(default, str) else "val/loss",
        default_model=model if isinstance(model, Source) else _OTHER,
        default_source=source if isinstance(source, Source) else _OTHER,
        labels=_labels(members, tuple(labels) if isinstance(labels, list | tuple) else None),
        loss_settings=_loss_settings(members.get("loss_settings", ())),
        one_class=_one_class(members),
        complete=complete,
        generated=frozenset(answers),
    )


def _labels(members: Mapping[str, object], labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the class names; None if they are unknown, or a classifier finds them in the data."""
    return labels or (() if labels == () and not _classifies(members) else None)


def _classifies(members: Mapping[str, object]) -> bool:
    head = members.get("head")
    return isinstance(head, Head) and head.classifies


def _one_class(members: Mapping[str, object]) -> bool:
    """Return whether each row has one class; True if head or problem are unknown."""
    head, problem = members.get("head"), members.get("problem", Problem.SINGLE_LABEL)
    classifier = head is Head.SEQUENCE_CLASSIFICATION or not isinstance(head, Head)
    return classifier and problem in {Problem.SINGLE_LABEL, _UNKNOWN}


def _loss_settings(value: object) -> tuple[str, ...]:
    """Return the settings of the loss; all settings that a loss may have if the value is unknown."""
    if isinstance(value, list | tuple):
        return tuple(map(str, value))
    return tuple(name for name, rule in RULES.items() if rule.group is Group.PREFERENCE)


def _directions(metrics: Mapping[str, object]) -> dict[str, Direction]:
    known = {direction.value: direction for direction in Direction}
    return {str(name): known.get(str(value), Direction.MINIMIZE) for name, value in metrics.items()}


def _parsed(path: Path) -> ast.Module:
    if path.exists() and not path.is_file():
        raise UserError(f"objective {path}: a file is needed")
    return parsed_file(path, f"objective {path}")


class _File:
    """The top-level names of a module: its classes, its constants, and its imports from this package."""

    def __init__(self, module: ast.Module) -> None:
        self.classes: dict[str, ast.ClassDef] = {}
        self.constants: dict[str, ast.expr] = {}
        self.imported: dict[str, object] = {}
        self.bound = {node.id for node in ast.walk(module) if isinstance(node, ast.Name) and _stores(node)}
        self.bound |= {item.asname or item.name for node in ast.walk(module) for item in _imports(node)}
        attributes = [node for node in ast.walk(module) if isinstance(node, ast.Attribute)]
        # An attribute assigned anywhere may replace the class attribute.
        self.changed: dict[str, object] = {node.attr: _UNKNOWN for node in attributes if _stores(node)}
        parts = [node for node in ast.walk(module) if isinstance(node, ast.Subscript) and _stores(node)]
        owners = [*(node.value for node in attributes), *(node.value for node in parts)]
        altered = {owner.id for owner in owners if isinstance(owner, ast.Name)}
        for node in module.body:
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self.constants |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.ImportFrom):
                self.imported |= _ours(node)
        self.constants = {name: value for name, value in self.constants.items() if name not in altered - {"OBJECTIVE"}}

    def objective(self, ref: str) -> dict[str, object]:
        """Return the members of ``OBJECTIVE`` by name.

        If its class cannot be resolved, all members of the protocol are returned as unknown.

        Raises:
            UserError: ``OBJECTIVE`` is missing, or it is a class.
        """
        if not {"OBJECTIVE", "*"} & self.bound:
            raise UserError(f"objective {ref}: the file sets no OBJECTIVE; end it with `OBJECTIVE = MyObjective()`")
        value = self.constants.get("OBJECTIVE")
        if isinstance(value, ast.Name) and value.id in self.classes:
            raise UserError(f"objective {ref}: OBJECTIVE is a class; an instance is needed, `OBJECTIVE = {value.id}()`")
        members = None
        if isinstance(value, ast.Call) and not value.args and not value.keywords:
            members = self.members(value.func, frozenset())
        return dict.fromkeys(member_names(), _UNKNOWN) if members is None else members | self.changed

    def members(self, name: ast.expr, inside: frozenset[str]) -> dict[str, object] | None:
        """Return the members of a class and its bases; None if a base is neither in this file nor in this package."""
        if not isinstance(name, ast.Name) or name.id in inside:
            return None
        if name.id not in self.classes:
            base = self.imported.get(name.id)
            return {key: getattr(base, key) for key in dir(base)} if isinstance(base, type) else None
        node = self.classes[name.id]
        if node.decorator_list or node.keywords:
            return None
        result: dict[str, object] = {}
        for base_name in reversed(node.bases):
            inherited = self.members(base_name, inside | {name.id})
            if inherited is None:
                return None
            result |= inherited
        for statement in node.body:
            result |= self.stated(statement)
        return result

    def stated(self, statement: ast.stmt) -> dict[str, object]:
        """Return the members defined by one statement of a class body."""
        if isinstance(statement, ast.FunctionDef):
            return {statement.name: _UNKNOWN}
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            value = self.value(statement.value)
            return {target.id: value for target in targets if isinstance(target, ast.Name)}
        return {node.id: _UNKNOWN for node in ast.walk(statement) if isinstance(node, ast.Name) and _stores(node)}

    def value(self, node: ast.expr, depth: int = 0) -> object:
        """Return the value of an expression, or ``_UNKNOWN`` if it cannot be evaluated without executing code."""
        if isinstance(node, ast.Name) and node.id in self.constants and depth < 20:
            return self.value(self.constants[node.id], depth + 1)
        if isinstance(node, ast.Name | ast.Attribute):
            return self.looked_up(node)
        if isinstance(node, ast.Dict) and depth < 20:
            return self.mapping(node, depth)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            return self.source(node, depth) if self.imported.get(node.func.id) is Source else _UNKNOWN
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return _UNKNOWN

    def looked_up(self, node: ast.Name | ast.Attribute) -> object:
        """Return the value of an imported mapping, or of an attribute of an imported name."""
        if isinstance(node, ast.Name):
            found = self.imported.get(node.id)
            return found if isinstance(found, Mapping) else _UNKNOWN
        owner = self.imported.get(node.value.id) if isinstance(node.value, ast.Name) else None
        return getattr(owner, node.attr, _UNKNOWN)

    def mapping(self, node: ast.Dict, depth: int) -> object:
        result: dict[str, object] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            name, value = None if key is None else self.value(key, depth + 1), self.value(item, depth + 1)
            if isinstance(name, str):
                result[name] = value
            elif key is None and isinstance(value, Mapping):
                result |= value
            else:
                return _UNKNOWN
        return result

    def source(self, node: ast.Call, depth: int) -> object:
        given: dict[str, Any] = {str(item.arg): self.value(item.value, depth + 1) for item in node.keywords}
        names = {"origin", "name", "config", "split", "revision"}
        whole = given.keys() <= names and isinstance(given.get("origin"), Origin) and isinstance(given.get("name"), str)
        return Source(**given) if whole and _UNKNOWN not in given.values() else _UNKNOWN


def _stores(node: ast.Name | ast.Attribute | ast.Subscript) -> bool:
    return isinstance(node.ctx, ast.Store)


def _imports(node: ast.AST) -> list[ast.alias]:
    return node.names if isinstance(node, ast.Import | ast.ImportFrom) else []


def _ours(node: ast.ImportFrom) -> dict[str, object]:
    """Return the imported names from this package: enums, ``Source``, and the base classes of objectives."""
    module = node.module or ""
    shipped = module.startswith("objectives.") and module.removeprefix("objectives.") in objective_names()
    if node.level or not (shipped or module.startswith("orchestrator.objective.")):
        ours = not node.level and module.startswith("orchestrator.core.")
        return {item.asname or item.name: _OURS[item.name] for item in node.names if ours and item.name in _OURS}
    try:
        imported = importlib.import_module(module)
    except ImportError:
        return {}
    names = [item for item in node.names if hasattr(imported, item.name)]
    return {item.asname or item.name: getattr(imported, item.name) for item in names}
