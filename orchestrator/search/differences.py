"""What differs between a stored sweep and the file that would go on with it, in words."""

from collections.abc import Iterator, Mapping
from typing import Any


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one line per leaf that differs: ``space.rank.choices: [4, 8], now [4, 16]``."""
    before, after = dict(_leaves(stored)), dict(_leaves(asked))
    return tuple(
        f"{path}: {_shown(before, path)}, now {_shown(after, path)}"
        for path in [*before, *(path for path in after if path not in before)]
        if path not in before or path not in after or before[path] != after[path]
    )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _shown(leaves: Mapping[str, Any], path: str) -> str:
    return repr(leaves[path]) if path in leaves else "absent"
