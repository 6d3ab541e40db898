"""Small wheels in a folder used as pip's only index: the process boundary of a fetch."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from orchestrator.assets.catalogue import Package

MEMBERS = {"demo/data/a.txt": b"alpha", "demo/data/deep/b.txt": b"beta", "demo/code.py": b"raise SystemExit"}


def wheel(folder: Path, members: Mapping[str, bytes] = MEMBERS) -> Path:
    """Write ``demo-1.0-py3-none-any.whl`` with these members and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "")
    return path


def package(file: Path, members: tuple[str, ...] = ("a.txt", "deep/*.txt"), inner: str | None = None) -> Package:
    """Return the catalogue's description of a file."""
    return Package(
        name="demo",
        version="1.0",
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        prefix="demo/data/",
        members=members,
        inner=inner,
        size_mb=0.1,
        licence="none",
    )


def tarball(members: Mapping[str, bytes], link: str | None = None) -> bytes:
    """Return a .tar.gz with these members and, if ``link`` is given, a symbolic link of this name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if link is not None:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return buffer.getvalue()


def only_index(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make ``folder`` the only index of pip, in processes started later."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
