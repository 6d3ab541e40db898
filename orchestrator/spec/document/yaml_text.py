"""Reads YAML text into plain values and records the line and column of every key and value.

Only the node graph of ruamel.yaml is used. Tags construct no objects, a duplicate key is one problem among others,
and dates stay text.
"""

import math
from collections.abc import Callable
from typing import Protocol

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.spec.document.problems import KeyPath, Place, Problems, truncate, yaml_text

_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("int", "float", "bool", "null")}
_TEXTS = {f"{_TAG}{name}" for name in ("str", "timestamp")}
_COLLECTIONS = {f"{_TAG}map", f"{_TAG}seq"}
_MERGE = f"{_TAG}merge"
MAX_BYTES = 128 * 1024
"""Far above any sweep file. Reading a file of this size takes about one second."""
_MAX_VALUES = 20_000
"""Far above any sweep file. The limit stops nested aliases that expand exponentially."""
_MAX_DEPTH = 30
_READER_FAULTS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, NotImplementedError)
"""Raised by faults of ruamel.yaml itself, for example on an unknown YAML version."""
_INT_LIMIT = 2**63
"""Databases and arrays hold integers between minus this value and this value."""
_INT_RULE = "a whole number between -2^63 and 2^63 is needed"
_REMEDIES = {
    "\\t": "indent with spaces, not tabs",
    "mapping values are not allowed": "put a value with a colon in quotes; keys of one section start in one column",
    "<block end>": "the keys of one section must start in the same column",
}
"""Remedies by a part of the parser's message."""
_TOO_DEEP = f"values are nested more than {_MAX_DEPTH} levels deep"


class _Mark(Protocol):
    line: int
    column: int


def read_yaml(text: str, problems: Problems, path: KeyPath, place: Callable[[int, int], Place]) -> object:
    """Return the plain value (None, bool, number, str, list or dict) of one YAML 1.2 document.

    Args:
        text: the document.
        problems: receives the places of all keys and values, and the errors.
        path: the value's key path in the sweep file; () for the whole file.
        place: returns a place for a line and a column, both counted from 1.
    """
    reader = _Reader(problems, place)
    try:
        node = reader.yaml.compose(text)
    except (RecursionError, *_READER_FAULTS) as error:
        problems.places[path] = (place(1, 1), place(1, 1))
        problems.add(path, _TOO_DEEP if isinstance(error, RecursionError) else "is not valid YAML 1.2")
        return None
    except YAMLError as error:
        # Errors about forbidden characters have no mark.
        mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
        where = reader.at(mark) if mark else place(1, 1)
        reason = (error.problem or error.context) if isinstance(error, MarkedYAMLError) else str(error).splitlines()[0]
        problems.places[path] = (where, where)
        remedy = next((f"; {remedy}" for part, remedy in _REMEDIES.items() if part in str(reason)), "")
        problems.add(path, f"is not valid YAML, {reason}{remedy}")
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

    def value(self, node: Node, path: KeyPath) -> object:
        return self.value_of(node, path) if self.is_allowed(node, path) else None

    def is_allowed(self, node: Node, path: KeyPath) -> bool:
        """Return whether ``node`` keeps the limits on count, depth, aliases and tags; a broken limit is a problem."""
        self.count += 1
        if self.count == _MAX_VALUES:
            self.problems.add(path, f"the values and their aliases expand to more than {_MAX_VALUES} values")
        if self.count >= _MAX_VALUES:
            return False
        if len(self.open_nodes) == _MAX_DEPTH and not isinstance(node, ScalarNode):
            self.problems.add(path, _TOO_DEEP)
            return False
        if any(node is outer for outer in self.open_nodes):
            self.problems.add(path, "an alias must not contain itself")
            return False
        if not isinstance(node, ScalarNode) and node.tag not in _COLLECTIONS:
            self.problems.add(path, f"YAML tags are not allowed, got {str(node.tag).replace(_TAG, '!!')}")
            return False
        return True

    def value_of(self, node: Node, path: KeyPath) -> object:
        self.open_nodes.append(node)
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return self.sequence(node, path)
            return self.scalar(node, path)
        finally:
            self.open_nodes.pop()

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        result: dict[str, object] = {}
        merged: dict[str, object] = {}
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
                self.problems.add_at(self.at(key_node.start_mark), inner, f"duplicate key, first on line {first}")
                continue
            # YAML places an empty value on a later line, so use the key's place.
            is_empty = isinstance(value_node, ScalarNode) and value_node.start_mark.index == value_node.end_mark.index
            value_mark = key_node.start_mark if is_empty else value_node.start_mark
            self.problems.places[inner] = (self.at(key_node.start_mark), self.at(value_mark))
            result[key] = self.value(value_node, inner)
        return merged | result

    def is_plain(self, key: ScalarNode) -> bool:
        """Return whether the key is text, or its text fits its explicit tag."""
        if key.tag == _MERGE or str(key.tag) in _TEXTS:
            return True
        try:
            self.yaml.constructor.construct_object(key)
        except (YAMLError, *_READER_FAULTS):
            return False
        return str(key.tag) in _SCALARS

    def merge(self, node: Node, path: KeyPath) -> dict[str, object]:
        parts = node.value if isinstance(node, SequenceNode) else [node]
        result: dict[str, object] = {}
        for part in parts:
            if isinstance(part, MappingNode):
                merged = self.value(part, path)
                result = (merged if isinstance(merged, dict) else {}) | result
            else:
                self.problems.add_at(self.at(node.start_mark), path, "<< needs a mapping or a list of mappings")
        return result

    def sequence(self, node: SequenceNode, path: KeyPath) -> list[object]:
        result: list[object] = []
        for position, item in enumerate(node.value):
            inner = (*path, position)
            self.problems.places[inner] = (self.at(item.start_mark), self.at(item.start_mark))
            result.append(self.value(item, inner))
        return result

    def scalar(self, node: Node, path: KeyPath) -> object:
        tag = str(node.tag)
        if tag in _TEXTS:
            return str(node.value)
        if tag not in _SCALARS:
            self.problems.add(path, f"YAML tags are not allowed, got {tag.replace(_TAG, '!!')}")
            return None
        try:
            value: object = self.yaml.constructor.construct_object(node)
        except (ValueError, OverflowError, LookupError):
            # An explicit tag that does not fit its text, as in "!!int x"; or a number of thousands of digits.
            written = str(node.value)
            long = tag == f"{_TAG}int" and written.lstrip("+-").isdecimal()
            needed = _INT_RULE if long else f"the value does not fit its tag {tag.replace(_TAG, '!!')}"
            self.problems.add(path, f"{needed}, got {truncate(written, 60) if long else yaml_text(written)}")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self.problems.add(path, f"a finite number is needed, got {truncate(str(node.value), 60)}")
            return None
        if isinstance(value, int) and not -_INT_LIMIT < value < _INT_LIMIT:
            self.problems.add(path, f"{_INT_RULE}, got {truncate(str(node.value), 60)}")
            return None
        return value
