"""Fetching: verified, complete, once, and without heavy imports."""

import multiprocessing
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.assets import fetch as fetching
from orchestrator.assets.catalogue import CATALOGUE, Kind, Package
from orchestrator.assets.fetch import asset_path, fetch, fetch_package
from orchestrator.core.errors import AssetError, UserError
from orchestrator.core.system.environment import program
from tests.assets.packages import MEMBERS, only_index, package, tarball, wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    only_index(monkeypatch, tmp_path / "index")
    return tmp_path / "cache"


@pytest.fixture
def demo(cache: Path, tmp_path: Path) -> Package:
    return package(wheel(tmp_path / "index"))


def visible(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") if cache.is_dir() else []


def test_only_members_are_unpacked(demo: Package, cache: Path) -> None:
    said: list[str] = []
    folder = fetch_package(demo, said.append)
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert files == {"a.txt": b"alpha", "deep/b.txt": b"beta"}
    assert visible(cache) == [demo.folder]
    assert [line.split(": ")[1].split()[0] for line in said] == ["downloading", "verifying", "unpacking"]


def test_cached_asset_is_not_fetched_again(demo: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch_package(demo)
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    said: list[str] = []
    assert fetch_package(demo, said.append) == folder
    assert said == []


def test_other_file_of_same_version_is_refused(demo: Package, cache: Path, tmp_path: Path) -> None:
    wheel(tmp_path / "index", {**MEMBERS, "demo/data/a.txt": b"other"})
    with pytest.raises(AssetError, match=r"demo==1\.0 could not be downloaded(.|\n)*HASH"):
        fetch_package(demo)
    assert visible(cache) == []


@pytest.mark.parametrize(("digest", "executed"), [(None, True), ("0" * 64, False)])
def test_pip_executes_an_sdist_unless_its_hash_differs(tmp_path: Path, digest: str | None, executed: bool) -> None:
    backend = (
        "def prepare_metadata_for_build_wheel(folder, settings=None):\n    open('EXECUTED', 'w').close()\n    1 / 0\n"
    )
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    backend = backend.replace("EXECUTED", str(tmp_path / "executed"))
    members = {"backend.py": backend + "def build_wheel(*_): 1 / 0\n", "pyproject.toml": project}
    sdist = tmp_path / "demo-1.0.tar.gz"
    sdist.write_bytes(tarball({f"demo-1.0/{name}": text.encode() for name, text in members.items()}))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"demo @ {sdist.as_uri()}" + (f" --hash=sha256:{digest}" if digest else ""))
    command = [sys.executable, "-m", "pip", "download", "--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*command, "--requirement", str(requirements)], check=False, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "executed").exists() is executed


def test_checksum_is_verified_after_download(tmp_path: Path) -> None:
    file = tmp_path / "x.whl"
    file.write_bytes(b"not it")
    with pytest.raises(AssetError, match=r"x\.whl is not the published file: sha256 00ff is expected, got "):
        fetching.verify(file, "00ff")


def test_unreachable_registry_message_has_remedy(demo: Package, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "index" / "demo-1.0-py3-none-any.whl").unlink()
    with pytest.raises(AssetError, match=re.escape(f"run `make assets` or `{program()} doctor --fetch all`")):
        fetch_package(demo)
    assert visible(cache) == []


def test_a_missing_member_leaves_nothing_behind(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"does not contain demo/data/c\.txt"):
        fetch_package(package(wheel(tmp_path / "index"), members=("a.txt", "c.txt")))
    assert visible(cache) == []


def test_unusable_cache_names_its_variable(monkeypatch: pytest.MonkeyPatch, demo: Package) -> None:
    monkeypatch.setenv("LORATORY_CACHE", "/dev/null/cache")
    with pytest.raises(AssetError, match="LORATORY_CACHE"):
        fetch_package(demo)


def test_killed_unpacking_leaves_no_partial_asset(demo: Package, cache: Path) -> None:
    def die_at_unpacking(line: str) -> None:
        if "unpacking" in line:
            os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=fetch_package, args=(demo, die_at_unpacking))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert not (cache / demo.folder).exists()
    assert any(name.startswith(f".{demo.folder}.part-") for name in visible(cache))

    assert (fetch_package(demo) / "a.txt").read_bytes() == b"alpha"
    assert visible(cache) == [demo.folder]


def _fetch_into(log: Path, demo: Package) -> None:
    def note(line: str) -> None:
        with log.open("a") as file:
            file.write(line + "\n")

    fetch_package(demo, note)


def test_two_processes_at_once_fetch_once(demo: Package, cache: Path, tmp_path: Path) -> None:
    context, log = multiprocessing.get_context("fork"), tmp_path / "log"
    processes = [context.Process(target=_fetch_into, args=(log, demo)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [line for line in log.read_text().splitlines() if "downloading" in line] == ["demo==1.0: downloading 0 MB"]
    assert visible(cache) == [demo.folder]


def test_cached_asset_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from orchestrator.assets.fetch import fetch\n"
        "fetch('vader-movie')\n"
        "print([name for name in ('torch', 'datasets', 'transformers', 'numpy') if name in sys.modules])"
    )
    fetch("vader-movie")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="unknown packaged asset 'vader-moovie'; did you mean vader-movie"):
        fetch("vader-moovie")


def test_path_of_missing_asset_is_none(cache: Path) -> None:
    assert asset_path("minilm") is None


def test_the_catalogue_is_complete() -> None:
    assert {name for name, asset in CATALOGUE.items() if asset.kind is Kind.MODEL} == {"minilm", "smollm2"}
    for name, asset in CATALOGUE.items():
        assert asset.name == name
        assert len(asset.package.sha256) == 64
        assert asset.package.licence
        assert asset.summary
    vader = CATALOGUE["vader-movie"].package
    assert vader.citation is not None
    assert "Hutto" in vader.citation
