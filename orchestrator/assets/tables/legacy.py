"""Reads local files with the builders of ``datasets``, as before split rule 2.

The builders change some values: words such as ``null`` become missing values. Only resumed sweeps with rule 1 use
this module, to keep their rows.
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


def read_with_datasets(path: Path) -> "datasets.Dataset":
    """Return the rows of a local file, in memory, read with the ``datasets`` builder for its extension.

    Raises:
        AssetError: the file does not exist.
        DataError: the file is not a valid table.
    """
    import datasets
    from datasets.exceptions import DatasetGenerationError

    if not path.is_file():
        raise AssetError(f"data file {path} does not exist")
    builder, arguments = _BUILDERS[path.suffix.lower()]
    with tempfile.TemporaryDirectory(prefix="loratory-") as scratch:
        try:
            rows: datasets.Dataset = datasets.load_dataset(
                builder, data_files=str(path), split="train", cache_dir=scratch, keep_in_memory=True, **arguments
            )
        except (DatasetGenerationError, ValueError, OSError, StopIteration, zipfile.BadZipFile) as error:
            reason = str(error.__cause__ or error) or "it has no rows"
            raise DataError(f"{path} cannot be read as {builder}: {reason}") from error
    return rows
