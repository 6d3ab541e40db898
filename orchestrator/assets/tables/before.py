"""How local files were read before split rule 2: by ``datasets``' builders, which change some values.

A sweep that was opened under rule 1 goes on with the rows that it began with, words such as ``null`` taken for missing
values among them. Nothing else reads files so.
"""

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import AssetError, DataError

if TYPE_CHECKING:
    import datasets

_BUILDERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".parquet": ("parquet", {}),
}


def read_as_before(path: Path) -> "datasets.Dataset":
    """Return the rows of a local file as the builder of its ending makes them, in memory.

    Raises:
        AssetError: there is no such file.
        DataError: it is no table.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError

    if not path.is_file():
        raise AssetError(f"there is no data file {path}")
    builder, arguments = _BUILDERS[path.suffix.lower()]
    with tempfile.TemporaryDirectory(prefix="loratory-") as scratch:
        try:
            rows: datasets.Dataset = datasets.load_dataset(
                builder, data_files=str(path), split="train", cache_dir=scratch, keep_in_memory=True, **arguments
            )
        except (DatasetGenerationError, ValueError, OSError, StopIteration, zipfile.BadZipFile) as error:
            told = str(error.__cause__ or error) or "it holds no rows"
            raise DataError(f"{path} cannot be read as {builder}: {told}") from error
    return rows
