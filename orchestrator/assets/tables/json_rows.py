"""Reads JSON: a list of objects, an object of lists, or one object per line. Strings, including dates, stay strings."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tables.content import read_text
from orchestrator.assets.tables.values import TaskColumns, kind_of, table_of
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets


def read_json(path: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a JSON or JSON Lines file. The content, not the extension, determines the form.

    Args:
        path: the file.
        task: the columns read by the task.

    Raises:
        DataError: the file is not valid JSON, or has no list of objects; the message names the line or row.
    """
    text = read_text(path, path.suffix[1:].upper())
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return _table(path, [*json_lines(path, text.split("\n"))], task)
    if isinstance(content, dict):
        content = _from_object(path, content, task)
    if not isinstance(content, list):
        raise DataError(f'{path} has {kind_of(content)}; a list of objects is needed, or one per line: {{"text": "…"}}')
    if not content:
        raise DataError(f"{path} has no rows: its list is empty")
    for row, value in enumerate(content):
        if not isinstance(value, dict):
            raise DataError(f'{path}: an object is needed in row {row + 1}, got {kind_of(value)}: {{"text": "…"}}')
    return _table(path, content, task)


def _from_object(path: Path, content: dict[str, Any], task: TaskColumns) -> list[Any]:
    """Return the rows of a file with one object: one row of JSON Lines, or lists by column name."""
    if path.suffix.lower() == ".jsonl":
        return [content]
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    if content and len(lists) == len(content) and (not task.required or task.required & lists.keys()):
        lengths = {name: len(value) for name, value in lists.items()}
        if len(set(lengths.values())) > 1:
            sizes = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise DataError(f"{path} has columns of different lengths: {sizes}; all need the same number of values")
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    rows = [name for name, value in lists.items() if value and isinstance(value[0], dict)]
    advice = f"; the rows seem to be in {rows[0]!r}: save this list as a file" if rows else ""
    if not lists and any(isinstance(value, dict) for value in content.values()):
        advice = "; pandas writes such a list with `frame.to_json(FILE, orient='records')`"
    raise DataError(f"{path} has one object; a list of objects is needed, or one object per line (.jsonl){advice}")


def json_lines(path: Path, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the object of each line; blank lines are skipped.

    Raises:
        DataError: a line is not a valid object; the message names it.
    """
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = _reason(error) if isinstance(error, json.JSONDecodeError) else str(error)
            cut = ""
            whole = line.rstrip().endswith("}") and "Unterminated" not in reason
            if not whole and not any(rest.strip() for _, rest in numbered):
                cut = ". The file ends there: it may be incomplete, so write or download it again"
            raise DataError(f"{path} cannot be read as json: line {number} is not valid JSON: {reason}{cut}") from error
        if not isinstance(row, dict):
            raise DataError(f'{path}: an object is needed in line {number}, got {kind_of(row)}: {{"text": "…"}}')
        yield row


def _reason(error: json.JSONDecodeError) -> str:
    return f"{error.msg.removesuffix(' at').removesuffix(' starting')} at column {error.colno}"


def _table(path: Path, rows: list[dict[str, Any]], task: TaskColumns) -> "datasets.Dataset":
    names = dict.fromkeys(name for row in rows for name in row)
    return table_of({name: [row.get(name) for row in rows] for name in names}, task, path)
