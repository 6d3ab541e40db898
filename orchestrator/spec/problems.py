"""Every error of a sweep file, gathered, bounded and put in order. Knows nothing of what is right or wrong."""

from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NoReturn, TypeAlias

from orchestrator.core.errors import SpecError
from orchestrator.core.secrets import redact

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file: ``("search", "start", 0, "rank")``."""


MOST_PROBLEMS = 100
"""Problems that one message names; the search for others ends there."""
_MOST_CHARACTERS = 1000
_MOST_OF_LABEL = 400
_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """Where something was written; places of a file come before those of ``--set``, each in their order."""

    rank: tuple[int, int, int]
    label: str

    @property
    def is_override(self) -> bool:
        """Whether this was written on the command line."""
        return self.rank[0] == 1

    @classmethod
    def in_file(cls, name: str, line: int, column: int) -> "Place":
        """Return a place in a file; line and column count from 1."""
        return cls(rank=(0, line, column), label=f"{name}:{line}:{column}")

    @classmethod
    def in_override(cls, text: str, position: int) -> "Place":
        """Return the place of the override at ``position`` on the command line."""
        return cls(rank=(1, position, 0), label=f"--set {cut(text, _MOST_OF_LABEL)}")


@dataclass(slots=True)
class Problems:
    """Problems found so far, each with its place.

    ``places`` gives the places of the key and of the value at a path, as far as the file wrote them. After
    ``MOST_PROBLEMS`` the next one raises: a file with thousands of faults gives a message that can be read, at once.
    """

    places: dict[KeyPath, tuple[Place, Place]]
    _found: dict[tuple[Place, str], None] = field(default_factory=dict)
    _broken: set[KeyPath] = field(default_factory=set)

    def add(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Note a problem at ``path``; unless ``at_key``, it is the value that is pointed at."""
        self._broken.add(path)
        self.add_at(self.place(path, at_key=at_key), path, message)

    def add_at(self, place: Place, path: KeyPath, message: str) -> None:
        """Note a problem at a place that the caller knows."""
        dotted = ".".join(cut(str(key), _SHOWN) for key in path)
        text = printable(cut(f"{dotted}: {message}" if path else message, _MOST_CHARACTERS))
        self._found[place, f"{printable(place.label)} {text}"] = None
        if len(self._found) > MOST_PROBLEMS:
            self.fail()

    def follow(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Note a problem unless something inside or around ``path`` is broken already: then it is a consequence."""
        related = any(path[: len(broken)] == broken[: len(path)] for broken in self._broken)
        if not related:
            self.add(path, message, at_key=at_key)

    def is_broken(self, path: KeyPath) -> bool:
        """Return whether a problem stands at ``path`` or inside it."""
        return any(broken[: len(path)] == path for broken in self._broken)

    def place(self, path: KeyPath, *, at_key: bool = False) -> Place:
        """Return where ``path`` was written; for what is absent, the key of the nearest mapping around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                key, value = self.places[path[:length]]
                return key if at_key or length < len(path) else value
        return self.places[()][1]

    def raise_if_any(self) -> None:
        """Raise ``SpecError`` with all problems, one per line, in the order of their places."""
        if self._found:
            self.fail()

    def fail(self) -> NoReturn:
        """Raise ``SpecError`` with all problems, ``MOST_PROBLEMS`` at most. Passwords in them are masked."""
        lines = [text for _, text in sorted(self._found)]
        if len(lines) > MOST_PROBLEMS:
            lines[MOST_PROBLEMS:] = [f"{self.places[()][1].label} has more problems than these {MOST_PROBLEMS}"]
        raise SpecError("\n".join(map(redact, lines)))


def shown(value: Any) -> str:  # noqa: ANN401  (whatever YAML holds)
    """Return a value on one line as YAML writes it, cut if it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        # Thirty items fill what is shown, so no more of them are read.
        text = "{" + ", ".join(f"{key}: {shown(item)}" for key, item in islice(value.items(), 30)) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(item) for item in islice(value, 30)) + "]"
    else:
        text = repr(value)
    return cut(text, _SHOWN)


def cut(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters; the dots stand for the rest. Passwords are masked before."""
    text = redact(text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def printable(text: str) -> str:
    """Return a text on one line, without characters that a terminal obeys."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
