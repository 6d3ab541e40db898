"""Reads Arrow files: the file format (Feather version 2), the stream format of ``datasets``, and Feather version 1."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.parquet import rows_of
from orchestrator.assets.tables.values import TaskColumns
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""Last bytes of a complete stream. Source: arrow.apache.org/docs/format/Columnar.html, "IPC Streaming Format"."""


def read_arrow(path: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of an Arrow or Feather file, in memory. The content determines the format.

    Args:
        path: the file.
        task: the columns read by the task.

    Raises:
        DataError: the file is damaged or incomplete, a text is not UTF-8, or a text column has other values.
    """
    import pyarrow as pa

    try:
        table = _table(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path} cannot be read as Arrow: {reason}; write or download it again") from error
    return rows_of(table, path, task)


def _table(path: Path) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import feather

    content = path.read_bytes()
    if content.startswith(b"FEA1"):
        return feather.read_table(path, memory_map=False)
    if content.startswith(b"ARROW1"):
        return pa.ipc.open_file(pa.BufferReader(content)).read_all()
    if not content.endswith(_END):  # pyarrow reads an incomplete stream up to its last whole batch
        raise DataError(f"{path} cannot be read as Arrow: the end of the stream is missing; write or download it again")
    return pa.ipc.open_stream(pa.BufferReader(content)).read_all()
