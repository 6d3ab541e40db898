"""Plain values to the pydantic sections, every problem noted. What is broken is left out; the rest is checked."""

import copy
from typing import Any

from pydantic import ValidationError

from orchestrator.spec.messages import location, message
from orchestrator.spec.problems import KeyPath, Problems
from orchestrator.spec.sections import REQUIRED, SweepFile, nullable_sections


def sections(values: dict[str, Any], problems: Problems) -> SweepFile:
    """Return the sweep file's sections; broken parts have been replaced by their defaults and noted in ``problems``."""
    remaining = copy.deepcopy(values)
    for name in nullable_sections():
        if name in remaining and remaining[name] is None:
            del remaining[name]
    for *above, key in REQUIRED:
        parent = _at(remaining, tuple(above))
        if isinstance(parent, dict) and parent.get(key) is None:
            problems.follow((*above, key), "is required", at_key=True)
            parent.pop(key, None)
    while True:
        try:
            return SweepFile.model_validate(remaining)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            path = location(detail)
            at_key = detail["type"] in ("extra_forbidden", "missing") or detail["loc"][-1] == "[key]"
            problems.follow(path, message(detail), at_key=at_key)
        before = copy.deepcopy(remaining)
        for detail in details:
            path = location(detail)
            _prune(remaining, path[:-1] if detail["type"] == "missing" else path)
        assert remaining != before, f"nothing can be left out for {details}"


def _at(values: Any, path: KeyPath) -> Any:  # noqa: ANN401
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _prune(values: Any, path: tuple[Any, ...]) -> None:  # noqa: ANN401
    """Remove the smallest part around ``path`` that the rest can be checked without."""
    if path[:2] == ("search", "space"):
        path = path[:3]
    for depth, key in enumerate(path):
        inside = values[key] if isinstance(values, list) or (isinstance(values, dict) and key in values) else None
        if depth == len(path) - 1 or not isinstance(inside, dict | list):
            if isinstance(values, list):
                values[key] = {}  # only start points stand in lists; the positions of the others must stay
            elif isinstance(values, dict):
                values.pop(key, None)
            return
        values = inside
