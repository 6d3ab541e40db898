"""Translates pydantic's errors into messages: the broken rule, then the value."""

import re
from functools import cache
from typing import Any

from pydantic_core import ErrorDetails

from orchestrator.spec.document.problems import KeyPath, truncate, yaml_text
from orchestrator.spec.document.suggest import did_you_mean, one_of
from orchestrator.spec.sections.sweep_file import SweepFile

_NEEDED = {
    "int_type": "an integer is needed",
    "int_from_float": "an integer is needed",
    "float_type": "a number is needed",
    "string_type": "a text is needed",
    "bool_type": "true or false is needed",
    "list_type": "a list is needed",
    "dict_type": "a mapping is needed",
    "model_type": "a mapping is needed",
    "greater_than": "a value > {gt:g} is needed",
    "greater_than_equal": "a value >= {ge:g} is needed",
    "less_than": "a value < {lt:g} is needed",
    "less_than_equal": "a value <= {le:g} is needed",
    "finite_number": "a finite number is needed",
    "string_too_long": "a text of at most {max_length} characters is needed",
    "too_short": "at least {min_length} item is needed",
    "too_long": "at most {max_length} items are possible",
}
_FORMS: dict[KeyPath, str] = {
    ("early_stopping",): "a rule's name, none or a mapping is needed",
    ("search", "sampler"): "a sampler's name or a mapping is needed",
    ("model",): "a name, a path or a mapping with hub or torchhub is needed",
    ("data", "source"): "a name, a path, a list of paths or a mapping with hub is needed",
    ("data", "labels"): "a mapping of values in the data to class names is needed",
    ("data", "shift"): "a mapping of names to sources is needed",
    ("search", "space"): "a mapping of settings to their ranges is needed",
    ("training", "deepspeed"): "zero1, zero2, zero3, the path of a .json file or a mapping is needed",
}


def location(error: ErrorDetails) -> KeyPath:
    """Return the key path of an error, without pydantic's own markers."""
    return tuple(key for key in error["loc"] if not str(key).startswith(("(", "[")))


def message(error: ErrorDetails) -> str:
    """Return the message for one error: the broken rule and the value."""
    kind, path, value = error["type"], location(error), error["input"]
    context: dict[str, Any] = error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return unknown_key(path)
        case "missing":
            return "is required"
        case "complete":
            return str(context["problem"])
        case "enum" | "literal_error":
            return one_of(truncate(str(value), 60), re.findall(r"'([^']*)'", context["expected"]))
    got = f"{len(value):,}" if kind in ("string_too_long", "too_long") else yaml_text(value)
    return f"{_rule(error)}, got {got}{_hint(error)}"


def _rule(error: ErrorDetails) -> str:
    kind, path = error["type"], location(error)
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "rule":
        return str(context["rule"])
    if kind == "model_type" and path[:2] == ("search", "space") and len(path) == 3:
        return "low and high, choices or value are needed"
    if kind == "model_type" and path[:-1] in {("search", "constraints"), ("early_stopping", "limits")}:
        return "min, max or both are needed, such as {max: 0.1}"
    if kind in ("model_type", "dict_type") and path in _FORMS:
        return _FORMS[path]
    return _NEEDED[kind].format(**context) if kind in _NEEDED else error["msg"]


def _hint(error: ErrorDetails) -> str:
    kind, path = error["type"], location(error)
    if kind == "string_type" and isinstance(error["input"], int | float):
        return "; put it in quotes"
    if kind == "model_type" and path[:2] == ("search", "space") and len(path) == 3:
        return f"; write {{{'choices' if isinstance(error['input'], list) else 'value'}: {yaml_text(error['input'])}}}"
    if kind == "too_long" and path[:2] == ("search", "space") and path[-1] == "choices":
        return "; write a range of numbers as low and high"
    return ""


def unknown_key(path: KeyPath) -> str:
    """Return the message for an unknown last key, with the nearest known key or its section as a hint."""
    schema = _schema()
    key, known = str(path[-1]), _keys(schema, path[:-1])
    homes = [section for section in _keys(schema, ()) if key in _keys(schema, (section,))]
    homes += ["search.space"] if key in _keys(schema, ("search", "space", "rank")) else []
    if re.fullmatch(r"\d[\d.eE+-]*", key):
        return "unknown key; write decimals with a point: 1.5, not 1,5"
    hint = did_you_mean(key, known)
    if not hint and homes:
        hint = f"; it belongs in {homes[0]}"
    elif not hint:
        hint = f"; known here: {', '.join(known)}"
    return f"unknown key{hint}"


@cache
def _schema() -> dict[str, Any]:
    return SweepFile.model_json_schema()


def _keys(schema: dict[str, Any], path: KeyPath) -> list[str]:
    """Return the keys allowed by the JSON Schema in the mapping at ``path``."""
    nodes = [schema]
    for key in (*path, None):
        for node in nodes:  # the list grows during the loop: references and alternatives are followed
            nodes += node.get("anyOf", []) + node.get("oneOf", [])
            if "$ref" in node:
                nodes.append(schema["$defs"][node["$ref"].rpartition("/")[2]])
        if key is None:
            break
        inner = [node.get("properties", {}).get(key, node.get("additionalProperties")) for node in nodes]
        nodes = [node for node in inner if isinstance(node, dict)]
    return [name for node in nodes for name in node.get("properties", {})]
