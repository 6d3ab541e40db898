"""``--set a.b=value``: overrides of the sweep file, each with its own place in error messages."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from orchestrator.core.space import ParamValue
from orchestrator.spec.document.problems import KeyPath, Place, Problems, yaml_text
from orchestrator.spec.document.yaml_text import read_yaml

_MAX_KEYS, _MAX_DIGITS = 20, 6
_SPACE = ("search", "space")
_ENTRY = ("low", "high", "log", "step", "choices", "value", "when")
"""Keys of one entry: a function may have a parameter ``options``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """One ``--set``: the key path and the YAML text of its value."""

    path: KeyPath
    text: str
    place: Place


def parse_overrides(texts: Sequence[str], problems: Problems) -> list[Override]:
    """Return the overrides in order. A text without the form ``key=value`` is a problem."""
    result = []
    for position, text in enumerate(texts):
        keys, equals, value = text.partition("=")
        parts = keys.strip().split(".")
        place = Place.in_override(text, position)
        if not equals or not all(parts):
            problems.add_at(place, (), f"needs the form a.b=value, got {yaml_text(text)}")
            continue
        if len(parts) > _MAX_KEYS or any(part.isdecimal() and len(part) > _MAX_DIGITS for part in parts):
            message = f"at most {_MAX_KEYS} keys, and list positions of {_MAX_DIGITS} digits, are possible"
            problems.add_at(place, (), f"{message}, got {yaml_text(keys)}")
            continue
        path = _joined_option(tuple(int(part) if part.isdecimal() else part for part in parts))
        result.append(Override(path=path, text=value, place=place))
    return result


def _joined_option(path: KeyPath) -> KeyPath:
    """Return the path with a searched option as one key, ``options.NAME``, as in a file."""
    if path[:3] != (*_SPACE, "options") or len(path) < 4 or path[3] in _ENTRY:
        return path
    return (*_SPACE, f"options.{path[3]}", *path[4:])


def apply_overrides(tree: object, overrides: Sequence[Override], problems: Problems) -> None:
    """Set each override's value in ``tree``, the plain value of the file, and record its places in ``problems``."""
    for override in overrides:
        path, place = override.path, override.place
        for known in [known for known in problems.places if known[: len(path)] == path]:
            del problems.places[known]
        for length in range(1, len(path) + 1):
            # Sections created by this override get its place.
            problems.places.setdefault(path[:length], (place, place))
        value = read_yaml(override.text, problems, path, _always(place))
        problem = _set_at(tree, path, value)
        if problem:
            problems.add_at(place, path, problem)


def _always(place: Place) -> Callable[[int, int], Place]:
    return lambda _line, _column: place


def overridden_text(text: str, overrides: Sequence[Override]) -> str:
    """Return the file's text with the overrides applied and its comments kept.

    ``apply_overrides`` must have accepted both before.
    """

    def edit(tree: dict[str, Any]) -> None:
        for override in overrides:
            _set_at(tree, override.path, YAML(typ="rt").load(override.text))

    return _edited(text, edit) if overrides else text


def with_start_points(text: str, points: Sequence[Mapping[str, ParamValue]]) -> str:
    """Return a sweep file's text with further start points after its own ones, its comments kept."""

    def edit(tree: dict[str, Any]) -> None:
        written = tree["search"].setdefault("start", [])
        written.extend(dict(point) for point in points if point not in written)

    return _edited(text, edit) if points else text


def _edited(text: str, edit: Callable[[Any], None]) -> str:
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    tree = yaml.load(text)
    edit(tree)
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _set_at(tree: object, path: KeyPath, value: object) -> str | None:
    """Set ``value`` at ``path`` and create missing mappings on the way; return an error message on failure."""
    for depth, part in enumerate(path):
        above = ".".join(map(str, path[:depth])) or "the file"
        is_last = depth == len(path) - 1
        if isinstance(tree, list):
            if not isinstance(part, int) or part >= len(tree):
                return f"{above} is a list of length {len(tree)}, index {part} does not exist"
            if is_last:
                tree[part] = value
            tree = tree[part]
        elif isinstance(tree, dict):
            key = str(part)
            if is_last:
                tree[key] = value
            elif tree.get(key) is None:
                tree[key] = {}
            tree = tree[key]
        else:
            return f"a mapping is needed at {above}, got {yaml_text(tree)}"
    return None
