"""Reads large files in parts into an Arrow file of the cache, and maps it: memory does not grow with the file.

The rows are those of the reader in memory. CSV and JSON Lines are read twice: first for the type of each column.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets import token_store
from orchestrator.assets.code_digest import own_code
from orchestrator.assets.tables.large_text import Columns, csv_columns, json_columns
from orchestrator.assets.tables.parquet import rows_of
from orchestrator.assets.tables.stored import mapped, write
from orchestrator.assets.tables.values import ColumnTypes, TaskColumns, UnfitPartsError
from orchestrator.core.errors import AssetError, DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

LARGE_BYTES = 64_000_000
"""Files from this size are read in parts."""
_BATCH = 500
logger = logging.getLogger(__name__)


def read_large(path: Path, task: TaskColumns) -> "datasets.Dataset | None":
    """Return the rows of a file, mapped from the cache; None if it is read in memory only.

    That is so for some formats and values, and if the cache cannot be written. The entry of the cache depends on the
    file's path, size, times and the columns of the task. A later sweep, and the other processes of this sweep, map the
    same entry.

    Raises:
        AssetError: the file changed while it was read.
        DataError: as the reader in memory.
    """
    if token_store.limit_bytes() == 0:
        return None
    mark = _mark(path)
    key = _key(mark, task)
    stored = mapped(key)
    if stored is not None:
        return stored.rows
    tables = _tables(path, task)
    if tables is None:
        return None

    def make(scratch: Path) -> Path:
        folder = write(tables, scratch)
        if _mark(path) != mark:
            raise AssetError(f"{path} changed while it was read; run the command again")
        return folder

    try:
        token_store.entry(key, make)
    except UnfitPartsError as error:
        logger.info("%s is read into memory: %s", path, error)
        return None
    except OSError as error:  # a full or read-only disk must not end a sweep
        logger.warning("%s is read into memory, it cannot be stored: %s", path, error)
        return None
    stored = mapped(key)
    return None if stored is None else stored.rows


def _mark(path: Path) -> str:
    stat = path.stat()
    return json.dumps([str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])


def _key(mark: str, task: TaskColumns) -> str:
    content = json.dumps([mark, sorted(task.text), sorted(task.required), own_code()])
    return f"table-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _tables(path: Path, task: TaskColumns) -> "Iterator[pa.Table] | None":
    """Return the rows in parts with one schema; None if the format is read in memory only."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _plain(_parquet(path), path, task)
    if suffix in {".arrow", ".feather"}:
        return _plain(_arrow(path), path, task) if _is_arrow_file(path) else None
    columns = csv_columns(path, task) if suffix in {".csv", ".tsv"} else json_columns(path)
    return None if columns is None else _typed_tables(columns, path, task)


def _plain(batches: "Iterator[pa.RecordBatch]", path: Path, task: TaskColumns) -> "Iterator[pa.Table]":
    import pyarrow as pa

    before = 0
    try:
        for batch in batches:
            yield rows_of(pa.Table.from_batches([batch]), path, task, before).data.table
            before += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        kind = "Parquet" if path.suffix.lower() == ".parquet" else "Arrow"
        raise DataError(f"{path} cannot be read as {kind}: {reason}; write or download it again") from error


def _parquet(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=_BATCH)


def _is_arrow_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"


def _arrow(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.open_file(source)
        for place in range(reader.num_record_batches):
            yield reader.get_batch(place)


def _typed_tables(
    columns: Callable[[], Iterator[Columns]], path: Path, task: TaskColumns
) -> "Iterator[pa.Table] | None":
    """Return the parts of a file of text with the types of the whole columns; None if the types do not fit together."""
    types = ColumnTypes(task, path)
    for part in columns():
        types.add(part)
    if types.schema() is None:
        return None
    return map(types.table, columns())
