"""Reads local paths: one file or folder, or several files with the same columns."""

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.files import read_file
from orchestrator.assets.tables.folder import read_folder
from orchestrator.assets.tables.values import TaskColumns
from orchestrator.core.errors import AssetError, DataError

if TYPE_CHECKING:
    import datasets


def local_paths(name: str) -> list[Path]:
    """Return the absolute paths of a source's name: one path or pattern in each line, each file once.

    The files of a pattern (``data/*.csv``) are sorted. A pattern without files is left out; an existing path is never
    a pattern.
    """
    paths: dict[Path, None] = {}
    for line in name.split("\n"):
        path = Path(line).expanduser().absolute()
        if path.exists() or not glob.has_magic(line):
            paths[path] = None
        else:
            paths |= dict.fromkeys(sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    return [*paths]


def read_local(name: str, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of local files, in memory, in the order of the paths.

    Columns missing in some of the files are missing values there, unless the task needs them. A column with
    different types in the files becomes text, unless the task needs it.

    Args:
        name: paths and patterns, one in each line.
        task: the columns read by the task.

    Raises:
        AssetError: a file does not exist, or no file matches.
        DataError: a file is invalid, or the files differ in a column that the task needs.
    """
    import datasets

    paths = local_paths(name)
    if not paths:
        raise AssetError(f"no data file matches {', '.join(name.splitlines())}")
    tables = [read_folder(path, task) if path.is_dir() else read_file(path, task) for path in paths]
    if len(tables) == 1:
        return tables[0]
    for column in sorted({column for table in tables for column in table.column_names}):
        tables = _aligned(column, tables, paths, task)
    return datasets.concatenate_datasets(tables)


def _aligned(
    column: str, tables: "list[datasets.Dataset]", paths: list[Path], task: TaskColumns
) -> "list[datasets.Dataset]":
    """Return the tables with one type for a column.

    Raises:
        DataError: the task needs the column, and it is missing in a file or has several types.
    """
    import datasets

    present = [place for place, table in enumerate(tables) if column in table.column_names]
    if len(present) < len(tables) and column in task.required:
        absent = next(place for place in range(len(tables)) if place not in present)
        raise DataError(
            f"column {column} of {paths[present[0]]} is missing in {paths[absent]} "
            f"(columns: {', '.join(tables[absent].column_names)}); all files need the same columns"
        )
    kinds = {place: tables[place].features[column] for place in present}
    first = next((kind for kind in kinds.values() if not _is_null(kind)), None)
    other = next((place for place, kind in kinds.items() if not _is_null(kind) and kind != first), None)
    if other is None:
        return tables
    if column in task.required:
        where = next(place for place, kind in kinds.items() if kind == first)
        raise DataError(
            f"column {column} has other types of values in {paths[where]} ({_type(first)}) than in {paths[other]} "
            f"({_type(kinds[other])}); write it in the same way in all files"
        )
    aligned = [*tables]
    for place in present:
        rows = tables[place]
        texts = [None if value is None else str(value) for value in rows[column][:]]
        aligned[place] = rows.remove_columns([column]).add_column(column, texts, feature=datasets.Value("string"))
    return aligned


def _is_null(kind: object) -> bool:
    return getattr(kind, "dtype", None) == "null"


def _type(kind: object) -> str:
    names = getattr(kind, "names", None)
    return f"classes {', '.join(names)}" if names else str(getattr(kind, "dtype", kind))
