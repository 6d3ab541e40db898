"""``--set a.b=c``: values laid over the file, each with its own place in error messages."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from orchestrator.spec.document import read_yaml
from orchestrator.spec.problems import KeyPath, Place, Problems, shown

_MOST_KEYS, _MOST_DIGITS = 20, 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """One ``--set``: where it lays its value, and the YAML text of that value."""

    path: KeyPath
    text: str
    place: Place


def parse_overrides(texts: Sequence[str], problems: Problems) -> list[Override]:
    """Return the overrides in order; what is not ``key=value`` becomes a problem."""
    result = []
    for position, text in enumerate(texts):
        keys, equals, value = text.partition("=")
        parts = keys.strip().split(".")
        place = Place.in_override(text, position)
        if not equals or not all(parts):
            problems.add_at(place, (), f"needs the form a.b=value, got {shown(text)}")
            continue
        if len(parts) > _MOST_KEYS or any(part.isdecimal() and len(part) > _MOST_DIGITS for part in parts):
            message = f"at most {_MOST_KEYS} keys, and list positions of {_MOST_DIGITS} digits, are possible"
            problems.add_at(place, (), f"{message}, got {shown(keys)}")
            continue
        path = tuple(int(part) if part.isdecimal() else part for part in parts)
        result.append(Override(path=path, text=value, place=place))
    return result


def apply_overrides(tree: Any, overrides: Sequence[Override], problems: Problems) -> None:  # noqa: ANN401
    """Read each override's value, note its places and lay it into ``tree``, the file's plain value."""
    for override in overrides:
        path, place = override.path, override.place
        for known in [known for known in problems.places if known[: len(path)] == path]:
            del problems.places[known]
        for length in range(1, len(path) + 1):
            # Sections that only this override brings into being stand where it stands.
            problems.places.setdefault(path[:length], (place, place))
        value = read_yaml(override.text, problems, path, _always(place))
        obstacle = _lay(tree, path, value)
        if obstacle:
            problems.add_at(place, path, obstacle)


def _always(place: Place) -> Callable[[int, int], Place]:
    return lambda _line, _column: place


def overridden_text(text: str, overrides: Sequence[Override]) -> str:
    """Return the file's text with the overrides laid into it, its comments kept. Both must have been read before."""
    if not overrides:
        return text
    yaml = YAML(typ="rt")
    yaml.width = 10_000
    tree = yaml.load(text)
    for override in overrides:
        _lay(tree, override.path, yaml.load(override.text))
    stream = io.StringIO()
    yaml.dump(tree, stream)
    return stream.getvalue()


def _lay(tree: Any, path: KeyPath, value: Any) -> str | None:  # noqa: ANN401
    """Put ``value`` at ``path``, making the mappings on the way; return what is in the way, if anything is."""
    for depth, key in enumerate(path):
        above = ".".join(str(part) for part in path[:depth]) or "the file"
        if isinstance(tree, list):
            if not isinstance(key, int) or key >= len(tree):
                return f"{above} is a list of {len(tree)}, there is no item {key}"
        elif not isinstance(tree, dict):
            return f"cannot be set inside a single value, {above} is {shown(tree)}"
        else:
            key = str(key)  # noqa: PLW2901
        if depth == len(path) - 1:
            tree[key] = value
        elif isinstance(tree, dict) and tree.get(key) is None:
            tree[key] = {}
        tree = tree[key]
    return None
