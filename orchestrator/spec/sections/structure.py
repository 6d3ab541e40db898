"""Validates plain values with the pydantic sections. Invalid parts are removed so that the rest is checked too."""

import copy
from typing import Any

from pydantic import ValidationError

from orchestrator.spec.document.problems import KeyPath, Problems
from orchestrator.spec.sections.messages import location, message
from orchestrator.spec.sections.sweep_file import REQUIRED, SweepFile, nullable_sections


def sections(values: dict[str, Any], problems: Problems) -> SweepFile:
    """Return the sweep file's sections. Invalid parts get their defaults, and their errors go to ``problems``."""
    remaining = copy.deepcopy(values)
    for name in nullable_sections():
        if name in remaining and remaining[name] is None:
            del remaining[name]
    for *above, key in REQUIRED:
        parent = _at(remaining, tuple(above))
        if isinstance(parent, dict) and parent.get(key) is None:
            problems.add_if_unrelated((*above, key), "is required", at_key=True)
            parent.pop(key, None)
    while True:
        try:
            return SweepFile.model_validate(remaining)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            path = location(detail)
            at_key = detail["type"] in ("extra_forbidden", "missing") or detail["loc"][-1] == "[key]"
            problems.add_if_unrelated(path, message(detail), at_key=at_key)
        before = copy.deepcopy(remaining)
        for detail in details:
            path = location(detail)
            _prune(remaining, path[:-1] if detail["type"] == "missing" else path)
        assert remaining != before, f"no part can be removed for {details}"


def _at(values: object, path: KeyPath) -> object:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _prune(values: object, path: KeyPath) -> None:
    """Remove the smallest part around ``path``, such that the other parts can be validated."""
    if path[:2] == ("search", "space"):
        path = path[:3]
    if path in (
        ("model", "torchhub"),
        ("model", "trust"),
    ):  # without this key, pydantic takes it for a mapping with hub
        path = path[:1]
    if path[0] == "data" and isinstance(path[-1], int):  # one of several files
        path = path[:-1]
    for depth, key in enumerate(path):
        inside: object = None
        if isinstance(values, list) and isinstance(key, int):
            inside = values[key]
        elif isinstance(values, dict):
            inside = values.get(key)
        if depth == len(path) - 1 or not isinstance(inside, dict | list):
            if isinstance(values, list) and isinstance(key, int):
                values[key] = {}  # lists contain start points; the positions of the others must stay
            elif isinstance(values, dict):
                values.pop(key, None)
            return
        values = inside
