"""Output of a command. Stdout carries text or, with ``--json``, one JSON document, never both."""

import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.system.secrets import redact, redacted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

LOG_BYTES = 10_000_000
"""Log files larger than this are overwritten by the next command."""


class Screen:
    """The terminal, or the pipes in its place.

    Args:
        as_json: reserve stdout for one JSON document and send messages to stderr.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        from rich.console import Console

        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    @property
    def human(self) -> "Console":
        """The console for messages."""
        return self.err if self.as_json else self.out

    def show(self, renderable: "RenderableType", *, soft_wrap: bool = False) -> None:
        """Print a result. With ``--json`` print nothing: the JSON document contains the result."""
        if not self.as_json:
            self.out.print(_masked(renderable), soft_wrap=soft_wrap)

    def say(self, line: str) -> None:
        """Print a message. Square brackets are not interpreted as markup."""
        self.human.print(redact(line), markup=False, soft_wrap=True)

    def emit(self, document: object) -> None:
        """Print the JSON document if ``--json`` was given."""
        if self.as_json:
            from orchestrator.report.summary import jsonable

            text = json.dumps(redacted(jsonable(document)), indent=2, ensure_ascii=False, allow_nan=False)
            self.out.file.write(text + "\n")
            self.out.file.flush()

    @contextmanager
    def quiet(self, log: Path) -> Iterator[None]:
        """Redirect output of libraries and child processes to ``log``. Only this screen still writes to the terminal.

        The file descriptors are redirected, so that output of C libraries and Ray's processes is covered too.
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
    """Return a text with masked secrets. Tables show values of the ledger, which stores no secrets."""
    from rich.text import Text

    if isinstance(renderable, Text) and redact(renderable.plain) != renderable.plain:
        return Text(redact(renderable.plain))
    return redact(renderable) if isinstance(renderable, str) else renderable


@contextmanager
def _terminal(descriptor: int) -> Iterator[io.TextIOWrapper]:
    """Yield a text stream to the current target of ``descriptor``."""
    encoding = sys.stdout.encoding or "utf-8"
    with os.fdopen(os.dup(descriptor), "w", encoding=encoding, errors="replace", buffering=1) as stream:
        yield stream


def _has_descriptors() -> bool:
    """Return whether stdout and stderr are the descriptors 1 and 2. Notebooks and tests replace them."""
    try:
        return sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False
