"""The folder of encoded rows on this machine: its entries, its limit and its eviction.

An entry is a folder named by a digest of everything that its content depends on, so an entry is never stale. The
least recently used entries are removed above the limit.
"""

import math
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.assets.build_once import build_once, remove_leftovers
from orchestrator.assets.cache import cache_root
from orchestrator.core.errors import UserError

FOLDER, LIMIT = "LORATORY_TOKENS", "LORATORY_TOKENS_GB"
"""Variables: the folder of the entries (default: ``tokens`` in the cache), and its limit in GB, 0 to store nothing."""
DEFAULT_GB = 20.0
_NEW_S = 60.0
"""An entry used within this time stays: another process may be about to map its files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One stored table of encoded rows.

    Attributes:
        folder: its folder.
        num_bytes: size of its files.
        used_at: Unix time of its last use.
    """

    folder: Path
    num_bytes: int
    used_at: float


def store_folder() -> Path:
    """Return the folder of the entries, which need not exist."""
    chosen = os.environ.get(FOLDER)
    return Path(chosen).expanduser().absolute() if chosen else cache_root() / "tokens"


def limit_bytes() -> int:
    """Return the limit of all entries together; 0: nothing is stored.

    Raises:
        UserError: the variable is not a number from 0.
    """
    given = os.environ.get(LIMIT, "")
    try:
        limit = float(given or DEFAULT_GB)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise UserError(f"{LIMIT}: a number of gigabytes from 0 is needed, got {given!r}. 0 stores nothing.")
    return int(limit * 1e9)


def find(key: str) -> Path | None:
    """Return the folder of an entry; None if it does not exist."""
    folder = store_folder() / key
    return folder if folder.is_dir() else None


def entry(key: str, make: Callable[[Path], Path]) -> Path:
    """Return the folder of an entry, marked as used now; make it if it is absent, and evict others above the limit.

    Args:
        key: digest of everything that the content depends on.
        make: see ``build_once``.

    Raises:
        OSError: the folder of the entries cannot be created or written, or the disk is full.
    """
    absent = find(key) is None
    store_folder().mkdir(parents=True, exist_ok=True)
    folder = build_once(key, make, store_folder())
    mark_used(folder)
    if absent:
        evict(limit_bytes())
    return folder


def mark_used(folder: Path) -> None:
    """Note that an entry is used now: the least recently used one is removed first."""
    with suppress(OSError):  # another process may have removed the entry, or the folder may be read-only
        os.utime(folder)


def remove(folder: Path) -> None:
    """Remove a damaged entry. Its name goes first, so no process finds half of it."""
    hidden = folder.with_name(f".{folder.name}.part-removed-{os.getpid()}")
    with suppress(OSError):  # another process was faster
        folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def entries() -> list[Entry]:
    """Return all complete entries, the least recently used first."""
    found = []
    for folder in store_folder().glob("*"):
        with suppress(OSError):  # another process may remove it meanwhile
            if folder.is_dir() and not folder.name.startswith("."):
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append(Entry(folder=folder, num_bytes=size, used_at=folder.stat().st_mtime))
    return sorted(found, key=lambda one: one.used_at)


def evict(most_bytes: int, *, new_s: float = _NEW_S) -> list[Entry]:
    """Remove the least recently used entries until the others fit, and the parts left by killed processes.

    A process that has mapped a removed file goes on reading it. Entries used within ``new_s`` seconds stay.

    Returns:
        The removed entries.
    """
    remove_leftovers(store_folder())
    present = entries()
    total, removed = sum(one.num_bytes for one in present), []
    for one in present:
        if total <= most_bytes or time.time() - one.used_at < new_s:
            break
        remove(one.folder)
        total -= one.num_bytes
        removed.append(one)
    return removed
