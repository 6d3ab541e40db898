"""Converts rows of a source into those of an objective, part by part.

The result is mapped from the cache if the rows are, as those of large files and of the hub; otherwise it is in memory.
So memory does not grow with the number of rows where it does not for the source. Later processes and sweeps map the
same entry.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.assets import token_store
from orchestrator.assets.code_digest import own_code
from orchestrator.assets.tables.stored import mapped, write

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

PART = 500
"""Rows converted at a time."""
Notes = dict[str, list[Any]]
"""What a conversion says beside its rows, as values known to JSON: numbers of the rows left out by reason, for
example. Notes of one name are those of all parts, in their order."""
logger = logging.getLogger(__name__)


class Converted(NamedTuple):
    """One part of the converted rows; all parts have one schema.

    Attributes:
        table: the rows.
        notes: see ``Notes``.
    """

    table: "pa.Table"
    notes: Mapping[str, Sequence[Any]] = {}


def converted(
    rows: "datasets.Dataset", convert: Callable[[], Iterator[Converted]], *about: object
) -> "tuple[datasets.Dataset, Notes]":
    """Return the converted rows, and the notes of the conversion.

    Args:
        rows: the rows of a source, not empty.
        convert: converts them; a function of ``rows``, of the code of this package and of ``about`` alone.
        about: the name of the conversion and its arguments, values known to JSON.

    Raises:
        DataError: raised by ``convert``.
    """
    if rows.cache_files and token_store.limit_bytes():
        stored = _stored(_key(rows, about), convert)
        if stored is not None:
            return stored
    import datasets
    import pyarrow as pa

    notes: Notes = {}
    table = pa.concat_tables(_tables(convert, notes))
    return datasets.Dataset(datasets.table.InMemoryTable(table)), notes


class RowPart(NamedTuple):
    """Neighbouring rows.

    Attributes:
        first: number of rows before them.
        columns: their values by column.
        kept: their columns to be kept, as Arrow, by their new names.
    """

    first: int
    columns: dict[str, list[Any]]
    kept: "Mapping[str, pa.Array]"

    def kept_at(self, places: Sequence[int]) -> "dict[str, pa.Array]":
        """Return the kept columns of some rows, by their places in the part."""
        import pyarrow as pa

        chosen = pa.array(places, pa.int64())  # without the type, no place at all has no kind
        return {name: column.take(chosen) for name, column in self.kept.items()}


def row_parts(rows: "datasets.Dataset", names: Sequence[str], kept: Mapping[str, str]) -> Iterator[RowPart]:
    """Yield the rows in parts.

    Args:
        rows: the rows.
        names: columns to read.
        kept: columns to keep unchanged, by their new names.
    """
    values = rows.select_columns([*names])
    arrow = rows.select_columns([*kept.values()]).with_format("arrow") if kept else None
    for first in range(0, len(rows), PART):
        places = slice(first, first + PART)
        table = None if arrow is None else arrow[places]
        columns = {} if table is None else {new: table.column(old).combine_chunks() for new, old in kept.items()}
        yield RowPart(first=first, columns=values[places], kept=columns)


def values_in_parts(rows: "datasets.Dataset", name: str) -> Iterator[Any]:
    """Yield the values of a column, read in parts."""
    for part in row_parts(rows, [name], {}):
        yield from part.columns[name]


def _key(rows: "datasets.Dataset", about: Sequence[object]) -> str:
    """Return the key of an entry.

    Mapped rows count by the names of their files, and by the times of files outside the store. An entry's name says
    what it contains: a source's entry may be removed meanwhile, or be made again with other times.
    """
    from datasets.fingerprint import Hasher

    state = {name: Hasher.hash(value) for name, value in vars(rows).items() if name != "_fingerprint"}
    files = (Path(each["filename"]) for each in rows.cache_files)
    times = [path.stat().st_mtime_ns for path in files if not path.is_relative_to(token_store.store_folder())]
    content = json.dumps([state, times, about, own_code()], sort_keys=True)
    return f"rows-{hashlib.sha256(content.encode()).hexdigest()[:32]}"


def _stored(key: str, convert: Callable[[], Iterator[Converted]]) -> "tuple[datasets.Dataset, Notes] | None":
    """Return the rows and notes of an entry, made if it is absent; None if it cannot be stored."""
    found = mapped(key)
    if found is None:
        notes: Notes = {}
        try:
            token_store.entry(key, lambda scratch: write(_tables(convert, notes), scratch, lambda: notes))
        except OSError as error:  # a full or read-only disk must not end a sweep
            logger.warning("converted rows stay in memory, they cannot be stored: %s", error)
            return None
        found = mapped(key)
    return None if found is None else (found.rows, found.notes)


def _tables(convert: Callable[[], Iterator[Converted]], notes: Notes) -> "Iterator[pa.Table]":
    """Yield the tables of all parts, and add their notes."""
    for part in convert():
        for name, values in part.notes.items():
            notes.setdefault(name, []).extend(values)
        yield part.table
