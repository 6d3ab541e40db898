"""Rows in an entry of the cache: written in parts, and mapped by all processes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.assets import token_store
from orchestrator.core.trials.manifest import sync

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_ROWS, _ABOUT = "rows.arrow", "rows.json"


class StoredRows(NamedTuple):
    """Rows mapped from their file, and the notes of their writer."""

    rows: "datasets.Dataset"
    notes: dict[str, Any]


def mapped(key: str) -> StoredRows | None:
    """Return the rows of an entry; None if it is absent. A damaged entry is removed."""
    import datasets
    import pyarrow as pa

    folder = token_store.find(key)
    if folder is None:
        return None
    try:
        rows = datasets.Dataset.from_file(str(folder / _ROWS))
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if len(rows) != about["rows"]:
            raise ValueError("rows are missing")  # an incomplete stream ends at its last whole batch
        found = StoredRows(rows=rows, notes=about["notes"])
    except (OSError, ValueError, KeyError, pa.ArrowException):
        token_store.remove(folder)
        return None
    token_store.mark_used(folder)
    return found


def write(tables: "Iterator[pa.Table]", scratch: Path, notes: Callable[[], dict[str, Any]] = dict) -> Path:
    """Write tables with one schema as an entry, in the stream of Arrow that ``datasets`` maps.

    Args:
        tables: the rows, at least one table.
        scratch: an empty folder.
        notes: called after the last table; returns values known to JSON.

    Returns:
        The folder of the entry.
    """
    import pyarrow as pa

    folder = scratch / "entry"
    folder.mkdir()
    writer: pa.RecordBatchStreamWriter | None = None
    rows = 0
    try:
        for table in tables:
            writer = writer or pa.ipc.new_stream(str(folder / _ROWS), table.schema)
            writer.write_table(table)
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    (folder / _ABOUT).write_text(json.dumps({"rows": rows, "notes": notes()}), encoding="utf-8")
    for name in (_ROWS, _ABOUT, "."):
        sync(folder / name)
    return folder
