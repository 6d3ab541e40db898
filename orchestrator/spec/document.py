"""YAML text to plain values, with the line and column of every key and value. Knows nothing of sweeps.

Only the node graph is used: no tag can construct an object, a duplicate key is one problem among others, and text
that merely looks like a date stays text.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.spec.problems import KeyPath, Place, Problems, cut, shown

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("int", "float", "bool", "null")}
_TEXTS = {f"{_TAG}{name}" for name in ("str", "timestamp")}
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq"}
_MERGE = f"{_TAG}merge"
MOST_BYTES = 128 * 1024
"""Far above any sweep file; the reader takes a second for so many."""
_MAX_VALUES = 20_000
"""Far above any sweep file; aliases that multiply each other reach it at once."""
_MOST_LEVELS = 30
_READER_FAULTS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, NotImplementedError)
"""What the reader raises where it fails itself, as on a version of YAML that it does not know."""
_INTEGERS = 2**63
"""Whole numbers lie between minus this and this: what databases and arrays hold."""


_WHOLE = "a whole number between -2^63 and 2^63 is needed"


class _Mark(Protocol):
    line: int
    column: int


def read_yaml(text: str, problems: Problems, path: KeyPath, place: Callable[[int, int], Place]) -> Any:  # noqa: ANN401
    """Return the plain value of YAML 1.2 ``text`` and note the places of all it holds below ``path``.

    Args:
        text: one YAML document.
        problems: takes the places, and what breaks YAML's rules.
        path: where in the sweep file the value stands; () for the file itself.
        place: a place from line and column, both from 1.
    """
    reader = _Reader(problems, place)
    try:
        node = reader.yaml.compose(text)
    except (RecursionError, *_READER_FAULTS) as error:
        problems.places[path] = (place(1, 1), place(1, 1))
        deep = isinstance(error, RecursionError)
        rule = f"values stand at most {_MOST_LEVELS} levels deep" if deep else "is no YAML 1.2 that can be read"
        problems.add(path, rule)
        return None
    except YAMLError as error:
        # Characters that YAML forbids come without a mark.
        mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
        where = reader.at(mark) if mark else place(1, 1)
        reason = (error.problem or error.context) if isinstance(error, MarkedYAMLError) else str(error).splitlines()[0]
        problems.places[path] = (where, where)
        problems.add(path, f"is not valid YAML, {reason}")
        return None
    if node is None:
        problems.places.setdefault(path, (place(1, 1), place(1, 1)))
        return None
    key = problems.places[path][0] if path in problems.places else reader.at(node.start_mark)
    problems.places[path] = (key, reader.at(node.start_mark))
    return reader.value(node, path)


class _Reader:
    def __init__(self, problems: Problems, place: Callable[[int, int], Place]) -> None:
        self.yaml = YAML(typ="safe", pure=True)
        self.problems = problems
        self.place = place
        self.open_nodes: list[Node] = []
        self.count = 0

    def at(self, mark: _Mark) -> Place:
        return self.place(mark.line + 1, mark.column + 1)

    def value(self, node: Node, path: KeyPath) -> Any:  # noqa: ANN401
        return self.value_of(node, path) if self.may_hold(node, path) else None

    def may_hold(self, node: Node, path: KeyPath) -> bool:
        """Return whether ``node`` may stand here; what forbids it is noted."""
        self.count += 1
        if self.count == _MAX_VALUES:
            self.problems.add(path, f"the values and their aliases expand to more than {_MAX_VALUES} values")
        if self.count >= _MAX_VALUES:
            return False
        if len(self.open_nodes) == _MOST_LEVELS and not isinstance(node, ScalarNode):
            self.problems.add(path, f"values stand at most {_MOST_LEVELS} levels deep")
            return False
        if any(node is outer for outer in self.open_nodes):
            self.problems.add(path, "an alias must not hold itself")
            return False
        if not isinstance(node, ScalarNode) and node.tag not in _COLLECTIONS:
            self.problems.add(path, f"YAML tags are not allowed, got {str(node.tag).replace(_TAG, '!!')}")
            return False
        return True

    def value_of(self, node: Node, path: KeyPath) -> Any:  # noqa: ANN401
        self.open_nodes.append(node)
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return self.sequence(node, path)
            return self.scalar(node, path)
        finally:
            self.open_nodes.pop()

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode) or not self.is_plain(key_node):
                self.problems.add_at(self.at(key_node.start_mark), path, "a key must be a plain word")
                continue
            if key_node.tag == _MERGE:
                merged |= self.merge(value_node, path)
                continue
            key = str(key_node.value)
            inner = (*path, key)
            if key in result:
                first = self.problems.places[inner][0].rank[1]
                self.problems.add_at(self.at(key_node.start_mark), inner, f"stands twice, first in line {first}")
                continue
            # Nothing at all stands somewhere on a later line, as YAML sees it: point at the key.
            nothing = isinstance(value_node, ScalarNode) and value_node.start_mark.index == value_node.end_mark.index
            value_mark = key_node.start_mark if nothing else value_node.start_mark
            self.problems.places[inner] = (self.at(key_node.start_mark), self.at(value_mark))
            result[key] = self.value(value_node, inner)
        return merged | result

    def is_plain(self, key: ScalarNode) -> bool:
        """Return whether a key's tag, which may be written out, fits its text."""
        if key.tag == _MERGE or str(key.tag) in _TEXTS:
            return True
        try:
            self.yaml.constructor.construct_object(key)
        except (YAMLError, *_READER_FAULTS):
            return False
        return str(key.tag) in _SCALARS

    def merge(self, node: Node, path: KeyPath) -> dict[str, Any]:
        parts = node.value if isinstance(node, SequenceNode) else [node]
        result: dict[str, Any] = {}
        for part in parts:
            if isinstance(part, MappingNode):
                merged = self.value(part, path)
                result = (merged if isinstance(merged, dict) else {}) | result
            else:
                self.problems.add_at(self.at(node.start_mark), path, "<< takes a mapping or a list of mappings")
        return result

    def sequence(self, node: SequenceNode, path: KeyPath) -> list[Any]:
        result = []
        for position, item in enumerate(node.value):
            inner = (*path, position)
            self.problems.places[inner] = (self.at(item.start_mark), self.at(item.start_mark))
            result.append(self.value(item, inner))
        return result

    def scalar(self, node: Node, path: KeyPath) -> Any:  # noqa: ANN401
        tag = str(node.tag)
        if tag in _TEXTS:
            return str(node.value)
        if tag not in _SCALARS:
            self.problems.add(path, f"YAML tags are not allowed, got {tag.replace(_TAG, '!!')}")
            return None
        try:
            value = self.yaml.constructor.construct_object(node)
        except (ValueError, OverflowError, LookupError):
            # A tag that was written out, as in "!!int x", on text that is no such thing; or thousands of digits.
            written = str(node.value)
            long = tag == f"{_TAG}int" and written.lstrip("+-").isdecimal()
            needed = _WHOLE if long else f"{tag.replace(_TAG, '!!')} does not fit"
            self.problems.add(path, f"{needed}, got {cut(written, 60) if long else shown(written)}")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.add(path, f"a finite number is needed, got {cut(str(node.value), 60)}")
            return None
        if isinstance(value, int) and not -_INTEGERS < value < _INTEGERS:
            self.problems.add(path, f"{_WHOLE}, got {cut(str(node.value), 60)}")
            return None
        return value
