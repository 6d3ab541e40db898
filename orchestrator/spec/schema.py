"""JSON Schema of the sweep file, for completion, help and checks in editors."""

import re
from typing import Any, cast

from orchestrator.core.methods.catalogue import OPTIONS
from orchestrator.spec.sections.sweep_file import REQUIRED, SweepFile


def json_schema() -> dict[str, Any]:
    """Return the schema of the sections. Rules over several keys are checked by ``load_spec`` only."""
    schema = SweepFile.model_json_schema()
    for *above, key in REQUIRED:
        section = schema["$defs"]["Search"] if above else schema
        section.setdefault("required", []).append(key)
    # The parameters of a function have any names, those of an objective are the settings and the method's options.
    settings = [*schema["$defs"]["SpaceSection"]["properties"]]
    names = {"anyOf": [{"enum": settings}, {"pattern": f"^{re.escape(OPTIONS)}"}]}
    only_settings = {"properties": {"search": {"properties": {"space": {"propertyNames": names}}}}}
    schema["if"] = {"properties": {"objective": {"pattern": r"\.py:[^:/\\]*$"}}, "required": ["objective"]}
    schema["else"] = only_settings
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **cast("dict[str, Any]", _without_titles(schema)),
        "title": "Loratory sweep",
    }


def _without_titles(node: object) -> object:
    """Return the schema without pydantic's titles: editors would show them instead of the keys."""
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_titles(item) for key, item in node.items() if not (key == "title" and isinstance(item, str))}
