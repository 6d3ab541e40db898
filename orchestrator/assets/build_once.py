"""Folders of the cache that are made once: complete or absent, by one process at a time."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from orchestrator.assets.cache import cache_root
from orchestrator.core.errors import AssetError
from orchestrator.core.system.disk import disk_fault, unwritable


def build_in_cache(name: str, make: Callable[[Path], Path]) -> Path:
    """Return the folder ``name`` of the cache; make it if it is absent, as ``build_once``.

    Raises:
        AssetError: the cache folder cannot be created or written.
    """
    root = cache_root()
    if (root / name).is_dir():
        return root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(
            f"the cache folder {root} cannot be created ({error}); set LORATORY_CACHE to another folder"
        ) from error
    try:
        return build_once(name, make, root)
    except Exception as error:  # all errors are inspected; only disk faults are converted
        why = disk_fault(error)
        if why is None:
            raise
        raise AssetError(f"{unwritable(root, why)}; or set LORATORY_CACHE to another folder") from error


def build_once(name: str, make: Callable[[Path], Path], root: Path) -> Path:
    """Return the folder ``root/name``; make it if it is absent.

    Of several processes, one makes the folder and the others wait. The folder is renamed into place when it is
    complete, so a killed process leaves none.

    Args:
        name: the folder's name.
        make: gets an empty temporary folder; returns the complete folder inside it.
        root: the folder around it, which exists.
    """
    folder = root / name
    if folder.is_dir():
        return folder
    from filelock import FileLock

    with FileLock(root / f".{name}.lock"):
        if not folder.is_dir():  # another process may have made it in the meantime
            for leftover in root.glob(f".{name}.part-*"):  # of a killed process
                shutil.rmtree(leftover, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}.part-") as scratch:
                make(Path(scratch)).rename(folder)
    return folder


def remove_leftovers(root: Path) -> None:
    """Remove the unfinished folders of killed processes; a folder being made by another process stays."""
    from filelock import FileLock, Timeout

    for leftover in root.glob(".*.part-*"):
        name = leftover.name.rpartition(".part-")[0]
        try:
            with FileLock(root / f"{name}.lock", timeout=0):
                shutil.rmtree(leftover, ignore_errors=True)
        except Timeout:
            continue
