"""Reads a folder: text files, one row each, or a data set written by ``Dataset.save_to_disk``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.content import decoded
from orchestrator.assets.tables.values import TaskColumns, cast_text, table_of
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets

SUFFIX = ".txt"


def read_folder(folder: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a folder, in memory.

    A file ``LABEL/NAME.txt`` becomes a row with the columns ``text``, ``label`` (the name of its folder) and ``file``
    (its path in the folder). Files ``NAME.txt`` become rows with ``text`` and ``file``. Hidden files are ignored.

    Args:
        folder: the folder.
        task: the columns read by the task.

    Raises:
        DataError: the folder has no text files or mixes both forms, a file is not UTF-8, or a saved data set is
            damaged.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = sorted(path.parent.name for path in folder.glob("*/state.json"))
        raise DataError(f"{folder} holds several splits: {', '.join(splits)}. Name the folder of one split.")
    if (folder / "state.json").is_file():
        return _saved(folder, task)
    files = _text_files(folder)
    columns: dict[str, list[str]] = {"text": [decoded(file, "text").strip() for file in files]}
    if files[0].parent != folder:
        columns["label"] = [file.parent.name for file in files]
    columns["file"] = [file.relative_to(folder).as_posix() for file in files]
    return table_of(columns, task, folder)


def _text_files(folder: Path) -> list[Path]:
    """Return the text files of a folder or of its sub-folders, sorted; at least one.

    Raises:
        DataError: there are no text files, or a file is neither in the folder nor in a label's folder.
    """
    found = sorted(path for path in folder.rglob("*") if not _is_hidden(path, folder))
    files = [path for path in found if path.suffix.lower() == SUFFIX and path.is_file()]
    if not files:
        others = [path.relative_to(folder).as_posix() for path in found if path.is_file()]
        present = f"it has {', '.join(others[:3])}{' …' if len(others) > 3 else ''}" if others else "it is empty"
        raise DataError(
            f"{folder} has no {SUFFIX} files; {present}. Put each row into a file LABEL/NAME{SUFFIX}, or name "
            "data files by a pattern: FOLDER/*.csv"
        )
    for path in files:
        if len(path.relative_to(folder).parts) > 2:
            raise DataError(f"{path} is too deep; a file LABEL/NAME{SUFFIX} or NAME{SUFFIX} is needed in {folder}")
    depths = {path.parent == folder: path for path in files}
    if len(depths) > 1:
        raise DataError(
            f"{folder} has text files beside folders of text files: {depths[True].name}, "
            f"{depths[False].relative_to(folder).as_posix()}. Move all files into folders of labels, or none."
        )
    empty = [path for path in found if path.is_dir() and not depths.get(True) and not any(path.glob(f"*{SUFFIX}"))]
    if empty:
        raise DataError(f"{empty[0]} has no {SUFFIX} files; every folder in {folder} is a label. Remove it or fill it.")
    return files


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)


def _saved(folder: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return the rows of a data set written by ``save_to_disk``."""
    import datasets
    import pyarrow as pa

    try:
        saved = json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]
        rows = datasets.load_from_disk(str(folder), keep_in_memory=True) if saved else None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{folder} cannot be read as a saved data set: {error}; save it again") from error
    if not rows:  # datasets writes no file for no rows, and cannot read this
        raise DataError(f"{folder} is a saved data set without rows; save one with rows")
    assert isinstance(rows, datasets.Dataset)
    return cast_text(rows, [name for name in rows.column_names if name in task.text], folder)
