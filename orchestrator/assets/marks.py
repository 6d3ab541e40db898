"""Marks: what tells, without reading a file, whether anybody has written to it since."""

import re
from pathlib import Path

from orchestrator.assets.fetch import asset_path
from orchestrator.core.data import Origin, Source

Mark = tuple[tuple[object, ...], ...]
"""One entry for each file, whose values are equal only as long as the file is the same."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


def mark(source: Source) -> Mark | None:
    """Return the mark of a source's files; None if they are not here, or the hub may have others by now."""
    if source.origin is Origin.HUB:
        return ((source.revision,),) if _COMMIT.fullmatch(source.revision or "") else None
    packaged = source.origin is Origin.PACKAGED
    path = asset_path(source.name) if packaged else Path(source.name).expanduser().absolute()
    return None if path is None else mark_of(path)


def mark_of(path: Path) -> Mark | None:
    """Return the mark of a file, or of all that a folder holds; None if there is nothing."""
    try:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(file, file.stat()) for file in files]
    except OSError:
        return None
    # A program may put the time of writing back, as `cp -p` does; that of the last change it cannot.
    return tuple((str(file), found.st_size, found.st_mtime_ns, found.st_ctime_ns) for file, found in stats)
