"""Unsafe and damaged archives are refused without leftovers."""

import stat
import zipfile
from pathlib import Path

import pytest

from orchestrator.assets.unpack import unpack
from orchestrator.core.errors import AssetError
from tests.assets.packages import MEMBERS, package, tarball, wheel


@pytest.mark.parametrize("name", ["demo/data/../../../evil.txt", "/evil.txt", "demo\\data\\evil.txt", "C:/evil.txt"])
def test_path_outside_folder_is_refused(tmp_path: Path, name: str) -> None:
    file = wheel(tmp_path, {**MEMBERS, name: b"evil"})
    with pytest.raises(AssetError, match="outside its folder"):
        unpack(file, package(file, members=("*",)), tmp_path / "out")
    assert not [path for path in tmp_path.rglob("evil*") if path.is_file()]


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    file = wheel(tmp_path)
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("demo/data/link.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(AssetError, match="link or device"):
        unpack(file, package(file), tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "link", "refusal"),
    [
        ({"demo/data/a.txt": b"x", "../evil.txt": b"x"}, None, "outside its folder"),
        ({"demo/data/a.txt": b"x"}, "demo/data/link.txt", "link or device"),
    ],
)
def test_inner_tar_is_checked(tmp_path: Path, content: dict[str, bytes], link: str | None, refusal: str) -> None:
    file = wheel(tmp_path, {"demo/inner.tar.gz": tarball(content, link)})
    with pytest.raises(AssetError, match=refusal):
        unpack(file, package(file, inner="demo/inner.tar.gz"), tmp_path / "out")


def test_a_tar_inside_is_unpacked(tmp_path: Path) -> None:
    file = wheel(tmp_path, {"demo/inner.tar.gz": tarball({"demo/data/a.txt": b"alpha", "demo/b.txt": b"no"})})
    out = unpack(file, package(file, members=("a.txt",), inner="demo/inner.tar.gz"), tmp_path / "out")
    assert [path.name for path in out.iterdir()] == ["a.txt"]


def test_a_missing_inner_archive_is_named(tmp_path: Path) -> None:
    file = wheel(tmp_path)
    with pytest.raises(AssetError, match=r"demo==1\.0 does not contain demo/inner"):
        unpack(file, package(file, inner="demo/inner.tar.gz"), tmp_path / "out")


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    file = wheel(tmp_path, {"demo/data/a.txt": b"alpha", "demo/data/deep/b.txt": b"beta" * 100})
    raw = bytearray(file.read_bytes())
    raw[raw.index(b"betabeta") + 20] ^= 0xFF
    file.write_bytes(raw)
    with pytest.raises(AssetError, match=r"cannot be unpacked.*CRC"):
        unpack(file, package(file), tmp_path / "out")
