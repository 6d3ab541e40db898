"""Parses Python files of users without running them."""

import ast
from pathlib import Path

from orchestrator.core.errors import UserError

_MOST_BYTES = 2**20


def parsed_file(path: Path, subject: str) -> ast.Module:
    """Return the module of a Python file of at most 1 MiB.

    Args:
        path: the file.
        subject: its name in messages, such as ``objective my.py``.

    Raises:
        UserError: the file cannot be read, is too large, or is not valid Python.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{subject}: cannot be read, {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise UserError(f"{subject}: a file has at most {_MOST_BYTES // 1024} KiB, got more")
    try:
        return ast.parse(content, str(path))
    except SyntaxError as error:
        raise UserError(f"{subject}:{error.lineno}: SyntaxError: {error}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{subject}: is not valid Python: {error}") from error
