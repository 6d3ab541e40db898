"""Messages of a conversation, from the forms used by published data sets."""

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from orchestrator.core.errors import DataError


class Role(enum.StrEnum):
    """The author of a message. ``TOOL`` stands for calls of tools and their results."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


_ROLES: Mapping[str, Role] = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "human": Role.USER,
    "assistant": Role.ASSISTANT,
    "gpt": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
    "function_call": Role.TOOL,
    "observation": Role.TOOL,
}
"""Roles by their names in OpenAI's format (``role``) and ShareGPT's (``from``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message.

    Attributes:
        role: its author.
        content: its text.
    """

    role: Role
    content: str

    def to_json(self) -> dict[str, str]:
        """Return the message as chat templates read it."""
        return {"role": self.role.value, "content": self.content}

    @classmethod
    def from_json(cls, stored: Mapping[str, str]) -> Self:
        """Return the message written by ``to_json``."""
        return cls(role=Role(stored["role"]), content=stored["content"])


def read_messages(value: object, default: Role = Role.USER) -> tuple[Message, ...]:
    """Return the messages in one cell of a data set.

    Args:
        value: a list of objects with ``role`` and ``content`` (OpenAI) or ``from`` and ``value`` (ShareGPT), the same
            list in JSON notation, or a text. Content may be a list of parts of the type ``text``.
        default: the role of a text.

    Raises:
        DataError: the value has another form, or a role is unknown. The message does not name the row.
    """
    if isinstance(value, str):
        found = _from_text(value)
        if found is None:
            return (Message(role=default, content=value),)
        value = found
    if not isinstance(value, Sequence):
        raise DataError(f"a list of messages is needed, got {_short(value)}")
    return tuple(_message(item) for item in value)


def _from_text(text: str) -> list[Any] | None:
    """Return the messages in JSON notation, or None for another text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(found, list) and bool(found) and all(isinstance(item, dict) for item in found)
    return found if is_list and all({"role", "from"} & item.keys() for item in found) else None


def _message(item: object) -> Message:
    if not isinstance(item, Mapping):
        raise DataError(f'a message is {{"role": "user", "content": "…"}}, got {_short(item)}')
    # Columns of Arrow have a key in all messages if one message has it.
    given = {key: value for key, value in item.items() if value is not None}
    name = given.get("role", given.get("from"))
    role = _ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise DataError(f"role {_short(name)} is unknown; the roles are {', '.join(_ROLES)}")
    if given.get("tool_calls") or given.get("function_call"):
        role = Role.TOOL
    content = given.get("content", given.get("value", ""))
    if isinstance(content, Sequence) and not isinstance(content, str):
        content = "".join(map(_part, content))
    if not isinstance(content, str):
        raise DataError(f"the content of a message is text, got {_short(content)}")
    return Message(role=role, content=content)


def _part(part: object) -> str:
    """Return the text of one part of a message's content."""
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise DataError(f"only parts of the type text are supported, got {_short(part)}")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:80]}…"
