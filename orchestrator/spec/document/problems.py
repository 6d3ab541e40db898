"""Collects the errors of a sweep file with their places, and raises them together, ordered and limited in size."""

from dataclasses import dataclass, field
from itertools import islice
from typing import NoReturn, TypeAlias

from orchestrator.core.errors import SpecError
from orchestrator.core.system.secrets import redact

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file: ``("search", "start", 0, "rank")``."""


MAX_PROBLEMS = 100
"""Most problems in one message. Checking stops at one more."""
_MAX_CHARACTERS = 1000
_MAX_LABEL = 400
_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """Position of a key or value. Places in the file sort before ``--set`` options."""

    rank: tuple[int, int, int]
    label: str

    @property
    def is_override(self) -> bool:
        """Whether the place is on the command line."""
        return self.rank[0] == 1

    @classmethod
    def in_file(cls, name: str, line: int, column: int) -> "Place":
        """Return a place in a file; ``line`` and ``column`` count from 1."""
        return cls(rank=(0, line, column), label=f"{name}:{line}:{column}")

    @classmethod
    def in_override(cls, text: str, position: int) -> "Place":
        """Return the place of an override; ``position`` counts the ``--set`` options from 0."""
        return cls(rank=(1, position, 0), label=f"--set {truncate(text, _MAX_LABEL)}")


@dataclass(slots=True)
class Problems:
    """The problems found so far, each with its place.

    Attributes:
        places: the places of the key and of the value, by key path.

    Raises:
        SpecError: on adding a problem after ``MAX_PROBLEMS``, so a message stays readable.
    """

    places: dict[KeyPath, tuple[Place, Place]]
    _found: dict[tuple[Place, str], None] = field(default_factory=dict)
    _broken: set[KeyPath] = field(default_factory=set)

    def add(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Add a problem at the value of ``path``, or at its key if ``at_key``."""
        self._broken.add(path)
        self.add_at(self.place(path, at_key=at_key), path, message)

    def add_at(self, place: Place, path: KeyPath, message: str) -> None:
        """Add a problem at a known place."""
        dotted = ".".join(truncate(str(key), _SHOWN) for key in path)
        text = printable(truncate(f"{dotted}: {message}" if path else message, _MAX_CHARACTERS))
        self._found[place, f"{printable(place.label)} {text}"] = None
        if len(self._found) > MAX_PROBLEMS:
            self.fail()

    def add_if_unrelated(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Add a problem, unless a value inside or around ``path`` already has one: it may be a consequence."""
        related = any(path[: len(broken)] == broken[: len(path)] for broken in self._broken)
        if not related:
            self.add(path, message, at_key=at_key)

    def is_broken(self, path: KeyPath) -> bool:
        """Return whether there is a problem at ``path`` or inside it."""
        return any(broken[: len(path)] == path for broken in self._broken)

    def place(self, path: KeyPath, *, at_key: bool = False) -> Place:
        """Return the place of ``path``; if it is absent from the file, the key of the nearest enclosing mapping."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                key, value = self.places[path[:length]]
                return key if at_key or length < len(path) else value
        return self.places[()][1]

    def raise_if_any(self) -> None:
        """Raise ``SpecError`` with all problems, one per line, ordered by place."""
        if self._found:
            self.fail()

    def fail(self) -> NoReturn:
        """Raise ``SpecError`` with the first ``MAX_PROBLEMS`` problems, passwords masked."""
        lines = [text for _, text in sorted(self._found)]
        if len(lines) > MAX_PROBLEMS:
            note = f"has more than {MAX_PROBLEMS} problems; the first {MAX_PROBLEMS} are listed"
            lines[MAX_PROBLEMS:] = [f"{self.places[()][1].label} {note}"]
        raise SpecError("\n".join(map(redact, lines)))


def yaml_text(value: object) -> str:
    """Return a value on one line in YAML's notation, truncated if it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        # Thirty items fill the line.
        text = "{" + ", ".join(f"{key}: {yaml_text(item)}" for key, item in islice(value.items(), 30)) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(yaml_text(item) for item in islice(value, 30)) + "]"
    else:
        text = repr(value)
    return truncate(text, _SHOWN)


def truncate(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters, ending in dots if truncated. Passwords are masked first."""
    text = redact(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(text: str) -> str:
    """Return a text on one line with control characters escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
