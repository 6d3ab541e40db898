"""Writes ``orchestrator/core/methods/peft_methods.json``: the methods of the installed peft, and their options.

python -m tests.core.peft_table
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING

import orchestrator.core.methods.catalogue
from orchestrator.core.methods.catalogue import METHODS, OWNED

FILE = Path(orchestrator.core.methods.catalogue.__file__).parent / "peft_methods.json"

_KINDS = {int: "integer", float: "number", str: "text", bool: "boolean", list: "list", dict: "mapping", set: "list"}
_PROMPT = "prompt_encoder"
OURS: frozenset[str] = frozenset({"head", "full"})
"""Methods that are not peft's own."""


def table() -> dict[str, Any]:
    """Return the table: for each method peft's configuration class, the prefix of its tensors, and its options."""
    classes = {peft_type.value.lower(): peft_type for peft_type in PEFT_TYPE_TO_CONFIG_MAPPING}
    found = {}
    for name in sorted(METHODS.keys() - OURS):
        peft_type = classes[name]
        config = PEFT_TYPE_TO_CONFIG_MAPPING[peft_type]
        hints = typing.get_type_hints(config)
        options = {
            field.name: {**_kinds(hints[field.name]), "default": _default(field)}
            for field in dataclasses.fields(config)
            if field.name not in OWNED and _kinds(hints[field.name])["kinds"]
        }
        # peft's own prefix of a prompt is in no name of a tensor
        prefix = _PROMPT if METHODS[name].is_prompt else PEFT_TYPE_TO_PREFIX_MAPPING[peft_type]
        found[name] = {"config": config.__name__, "prefix": prefix, "options": options}
    return found


def _kinds(hint: object) -> dict[str, Any]:
    """Return the kinds of value of a type, and the texts of a ``Literal`` or an enumeration."""
    kinds: dict[str, None] = {}
    choices: list[str] = []
    for part in _parts(hint):
        origin = typing.get_origin(part) or part
        if origin is typing.Literal:
            kinds |= dict.fromkeys(_KINDS[type(value)] for value in typing.get_args(part))
            choices += [value for value in typing.get_args(part) if isinstance(value, str)]
        elif isinstance(origin, type) and issubclass(origin, Enum):
            kinds["text"] = None
            choices += [str(value.value) for value in origin]
        elif origin in _KINDS:
            kinds[_KINDS[origin]] = None
    return {"kinds": sorted(kinds), **({"choices": choices} if choices else {})}


def _parts(hint: object) -> list[object]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [inner for part in typing.get_args(hint) for inner in _parts(part)]
    return [hint]


def _default(field: "dataclasses.Field[Any]") -> object:
    if field.default is not dataclasses.MISSING:
        return field.default.value if isinstance(field.default, Enum) else field.default
    made = None if field.default_factory is dataclasses.MISSING else field.default_factory()
    return dict(made) if isinstance(made, Mapping) else made


def text() -> str:
    """Return the file's text: one option per line."""
    lines = []
    for name, method in table().items():
        options = ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in method["options"].items())
        head = f'"config": {json.dumps(method["config"])}, "prefix": {json.dumps(method["prefix"])}, "options": {{'
        lines.append(f" {json.dumps(name)}: {{{head}\n{options}\n }}}}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
