"""How much work a piece of this project's code is, without a clock: the lines of it that are run, and the queries."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import Engine, event

PACKAGE = str(Path(__file__).parent.parent / "orchestrator")


@contextmanager
def lines_run() -> Iterator[Counter[str]]:
    """Count the lines of ``orchestrator/`` that this thread runs in the block, by file; a loop's count every time."""
    lines: Counter[str] = Counter()

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(PACKAGE):
            return None
        if event == "line":
            lines[name.removeprefix(PACKAGE)] += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lines
    finally:
        sys.settrace(before)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Gather the SQL statements that are sent in the block, by any engine."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
