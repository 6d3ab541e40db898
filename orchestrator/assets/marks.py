"""Marks of files, to detect changes without reading the files."""

import re
from pathlib import Path

from orchestrator.assets.fetch import asset_path
from orchestrator.assets.tables import database_of, local_paths
from orchestrator.assets.torchhub import stored_torchhub_model
from orchestrator.core.data import Origin, Source

Mark = tuple[tuple[object, ...], ...]
"""One entry per file: path, size, and times of writing and of change. Equal marks mean unchanged files."""

_VERSIONED = 4
"""Number of slashes in the handle of a Kaggle model with a version."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


def mark(source: Source) -> Mark | None:
    """Return the mark of a source's files; None if they are missing, or come from a server without a fixed version."""
    if source.origin is Origin.SQL:
        return None  # nothing shows without a query whether the rows of a server have changed
    if source.origin is Origin.HUB:
        return ((source.revision,),) if _COMMIT.fullmatch(source.revision or "") else None
    if source.origin is Origin.KAGGLE:
        return ((source.name,),) if source.name.count("/") == _VERSIONED else None
    if source.origin in (Origin.PACKAGED, Origin.TORCHHUB):
        stored = source.origin is Origin.TORCHHUB
        path = stored_torchhub_model(source.name, source.revision) if stored else asset_path(source.name)
        return None if path is None else mark_of(path)
    if source.origin is Origin.SQLITE:
        database = database_of(source.name)[0]
        log = database.with_name(f"{database.name}-wal")  # holds committed rows that are not yet in the database's file
        paths = [database, log] if log.exists() else [database]
    else:
        paths = local_paths(source.name)
    marks = [mark_of(path) for path in paths]
    return None if not marks or None in marks else tuple(entry for each in marks for entry in each or ())


def mark_of(path: Path) -> Mark | None:
    """Return the mark of a file or of all files in a folder; None if it does not exist."""
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(file, file.stat()) for file in files]
    except OSError:
        return None
    # A program can reset the time of writing (`cp -p` does), but not the time of change.
    return tuple((str(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for file, stat in stats)
