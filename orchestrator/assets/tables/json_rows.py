"""JSON: a list of objects, an object of lists, or one object a line. Strings stay strings, dates among them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tables.content import text_of
from orchestrator.assets.tables.values import Wanted, kind_of, table_of
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets


def read_json(path: Path, wanted: Wanted) -> "datasets.Dataset":
    """Return the rows of a JSON file; both forms are known, whatever the ending.

    Raises:
        DataError: the file is no JSON, or holds no list of objects; the message names the line or row.
    """
    text = text_of(path, path.suffix[1:].upper())
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return _table(path, _lines(path, text), wanted)
    if isinstance(found, dict):
        found = _from_object(path, found, wanted)
    if not isinstance(found, list):
        raise DataError(f'{path} holds {kind_of(found)}; a list of objects is needed, or one a line: {{"text": "…"}}')
    if not found:
        raise DataError(f"{path} holds no rows: its list is empty")
    for row, value in enumerate(found):
        if not isinstance(value, dict):
            raise DataError(f'{path}: row {row + 1} is one of {kind_of(value)}; an object is needed: {{"text": "…"}}')
    return _table(path, found, wanted)


def _from_object(path: Path, found: dict[str, Any], wanted: Wanted) -> list[Any]:
    """Return the rows of a file that holds one object: a row of JSON lines, or columns by their names."""
    if path.suffix.lower() == ".jsonl":
        return [found]
    lists = {name: value for name, value in found.items() if isinstance(value, list)}
    if found and len(lists) == len(found) and (not wanted.needed or wanted.needed & lists.keys()):
        lengths = {name: len(value) for name, value in lists.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise DataError(f"{path} holds columns of different lengths: {told}; all need the same number of values")
        return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=True)]
    rows = [name for name, value in lists.items() if value and isinstance(value[0], dict)]
    advice = f"; the rows seem to be in {rows[0]!r}: save that list alone" if rows else ""
    if not lists and any(isinstance(value, dict) for value in found.values()):
        advice = "; pandas writes one by `frame.to_json(FILE, orient='records')`"
    raise DataError(f"{path} holds one object; a list of objects is needed, or one object a line (.jsonl){advice}")


def _lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            told = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise DataError(f"{path} cannot be read as json: line {number} is not JSON: {told}") from error
        if not isinstance(row, dict):
            raise DataError(f'{path}: line {number} is one of {kind_of(row)}; an object is needed: {{"text": "…"}}')
        rows.append(row)
    return rows


def _table(path: Path, rows: list[dict[str, Any]], wanted: Wanted) -> "datasets.Dataset":
    names = dict.fromkeys(name for row in rows for name in row)
    return table_of({name: [row.get(name) for row in rows] for name in names}, wanted, path)
