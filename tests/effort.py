"""How much work a piece of this project's code is, without a clock: the lines of it that are run."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

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
