"""The JSON Schema of the sweep file, by which editors complete, explain and check it while it is written."""

from typing import Any

from orchestrator.spec.sections import REQUIRED, SweepFile


def json_schema() -> dict[str, Any]:
    """Return the schema, made from the sections; what only a look at several keys shows is left to ``load_spec``."""
    schema = SweepFile.model_json_schema()
    for *above, key in REQUIRED:
        section = schema["$defs"]["Search"] if above else schema
        section.setdefault("required", []).append(key)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_titles(schema),
        "title": "Loratory sweep",
    }


def _without_titles(node: Any) -> Any:  # noqa: ANN401
    """Return a schema without the titles that pydantic derives from names: editors would show them instead of keys."""
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _without_titles(item) for key, item in node.items() if not (key == "title" and isinstance(item, str))}
