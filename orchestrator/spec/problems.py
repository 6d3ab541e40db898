"""Every error of a sweep file, gathered and put in order. Knows nothing of what is right or wrong."""

from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

from orchestrator.core.errors import SpecError

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top of the file: ``("search", "start", 0, "rank")``."""


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
        return cls(rank=(1, position, 0), label=f"--set {text}")


@dataclass(slots=True)
class Problems:
    """Problems found so far, each with its place.

    ``places`` gives the places of the key and of the value at a path, as far as the file wrote them.
    """

    places: dict[KeyPath, tuple[Place, Place]]
    _found: list[tuple[Place, str]] = field(default_factory=list)
    _broken: set[KeyPath] = field(default_factory=set)

    def add(self, path: KeyPath, message: str, *, at_key: bool = False) -> None:
        """Note a problem at ``path``; unless ``at_key``, it is the value that is pointed at."""
        self._broken.add(path)
        self.add_at(self.place(path, at_key=at_key), path, message)

    def add_at(self, place: Place, path: KeyPath, message: str) -> None:
        """Note a problem at a place that the caller knows."""
        dotted = ".".join(str(key) for key in path)
        problem = (place, f"{place.label} {dotted}: {message}" if path else f"{place.label} {message}")
        if problem not in self._found:
            self._found.append(problem)

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
        """Raise ``SpecError`` with all problems."""
        raise SpecError("\n".join(text for _, text in sorted(self._found)))


def shown(value: Any) -> str:  # noqa: ANN401  (whatever YAML holds)
    """Return a value on one line as YAML writes it, cut if it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        text = "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(item) for item in value) + "]"
    else:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
