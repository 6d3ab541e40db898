"""What a command shows: text for a person, or one JSON document for a program, never both on stdout."""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.secrets import redact, redacted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LOG_BYTES = 10_000_000
"""A log file that has grown beyond this is begun anew."""


class Screen:
    """The terminal, or whatever stands in its place.

    Args:
        as_json: stdout is for one JSON document; what a person reads goes to stderr.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        from rich.console import Console

        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    @property
    def human(self) -> "Console":
        """Where a person reads."""
        return self.err if self.as_json else self.out

    def show(self, renderable: "RenderableType", *, soft_wrap: bool = False) -> None:
        """Show a result to a person; with ``--json`` nothing, for the document holds it."""
        if not self.as_json:
            self.out.print(_masked(renderable), soft_wrap=soft_wrap)

    def say(self, line: str) -> None:
        """Tell a person what happens, as it is written: square brackets are no markup."""
        self.human.print(redact(line), markup=False, soft_wrap=True)

    def emit(self, document: Any) -> None:  # noqa: ANN401  (any plain value)
        """Print the JSON document, if it was asked for."""
        if self.as_json:
            from orchestrator.report.summary import jsonable

            text = json.dumps(redacted(jsonable(document)), indent=2, ensure_ascii=False, allow_nan=False)
            self.out.file.write(text + "\n")
            self.out.file.flush()

    @contextmanager
    def quiet(self, log: Path) -> Iterator[None]:
        """Send what libraries and child processes print to a file; this screen alone still reaches the terminal.

        The file descriptors themselves are moved, so that nothing escapes: C libraries, Ray's processes, warnings.
        """
        if not _has_descriptors():
            yield
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        fresh = log.exists() and log.stat().st_size > LOG_BYTES
        sys.stdout.flush()
        sys.stderr.flush()
        with log.open("wb" if fresh else "ab") as file, _terminal(1) as out, _terminal(2) as err:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {redact(' '.join(sys.argv))}\n".encode())
            file.flush()
            self.out.file, self.err.file = out, err
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                out.flush()
                err.flush()
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                self.out.file, self.err.file = sys.stdout, sys.stderr


def _masked(renderable: "RenderableType") -> "RenderableType":
    """Return a text without secrets. Tables are made of the ledger's values, which hold none."""
    from rich.text import Text

    if isinstance(renderable, Text) and redact(renderable.plain) != renderable.plain:
        return Text(redact(renderable.plain))
    return redact(renderable) if isinstance(renderable, str) else renderable


@contextmanager
def _terminal(descriptor: int) -> Iterator[io.TextIOWrapper]:
    """Yield a text stream to where ``descriptor`` points now."""
    encoding = sys.stdout.encoding or "utf-8"
    with os.fdopen(os.dup(descriptor), "w", encoding=encoding, errors="replace", buffering=1) as stream:
        yield stream


def _has_descriptors() -> bool:
    """Return whether stdout and stderr are the process's own; a notebook or a test may have replaced them."""
    try:
        return sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False
