"""The doctor finds what is wrong."""

import json
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

import orchestrator
from orchestrator.cli import hardware, installed
from tests.cli.conftest import Run


def test_a_healthy_machine_gets_a_clean_bill(command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    document = json.loads(command("doctor", "--json").stdout)
    assert document["broken"] == []
    versions = {item["name"]: item["version"] for item in document["packages"]}
    assert versions["optuna"] == metadata.version("optuna")
    assert document["hardware"]["cores"] >= 1
    assert document["hardware"]["memory_bytes"] > 1e8
    assert set(document["assets"].values()) == {None}
    assert any("not fetched yet" in line for line in document["warnings"])


def test_an_asset_that_does_not_exist_is_the_users_mistake(command: Run) -> None:
    assert "minilm" in command("doctor", "--fetch", "minilmm", check=2).stderr


def test_a_broken_ledger_is_found(command: Run, home: Path) -> None:
    home.mkdir()
    (home / "ledger.db").write_bytes(b"this is no database, whatever its name says" * 100)
    assert any(line.startswith("ledger:") for line in json.loads(command("doctor", "--json", check=1).stdout)["broken"])


def test_a_folder_in_a_packages_way_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shadowed").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(installed.NEEDED, "pytest", "shadowed")
    found = {item.name: item for item in installed.packages()}
    assert found["pytest"].problem == "installed, but another folder of that name is in its way"
    assert found["torch"].problem is None


def test_an_absent_package_and_a_wrong_version_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(installed.NEEDED, "no-such-distribution", "nowhere")
    (tmp_path / "orchestrator").mkdir()
    needs = ["optuna<1 ; extra == 'old'", "ray[tune]>=999", "torch==2.13.0"]
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "loratory"\ndependencies = {json.dumps(needs)}\n')
    monkeypatch.setattr(orchestrator, "__file__", str(tmp_path / "orchestrator" / "__init__.py"))
    found = {item.name: item for item in installed.packages()}
    assert found["no-such-distribution"].problem == "not installed"
    assert found["ray"].problem == ">=999 is needed"
    assert found["optuna"].problem is None
    assert found["torch"].problem is None  # 2.13.0+cpu is 2.13.0


def test_what_only_some_sweeps_need_may_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "OPTIONAL", {"no-such-distribution": "nowhere", "optuna": "optuna"})
    absent, there = installed.packages()[-2:]
    assert (absent.version, absent.problem) == (None, None)
    assert (there.version, there.problem) == (metadata.version("optuna"), None)


@pytest.mark.parametrize("beside", [None, "[build-system]\n", '[project]\nname = "another"\n'])
def test_a_wheel_knows_its_requirements_too(
    beside: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if beside is not None:
        (tmp_path / "pyproject.toml").write_text(beside)
    monkeypatch.setattr(orchestrator, "__file__", str(tmp_path / "orchestrator" / "__init__.py"))
    monkeypatch.setattr(metadata, "requires", lambda _name: ["optuna>=999"])
    assert [item.problem for item in installed.packages() if item.name == "optuna"] == [">=999 is needed"]


def test_every_package_that_is_looked_at_has_a_range() -> None:
    assert set(installed.NEEDED) <= set(installed._ranges())


def test_devices_that_torch_cannot_use_are_named_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = types.ModuleType("pynvml")  # stands for NVIDIA's library
    driver.__dict__.update(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda _device: "NVIDIA H200",
        nvmlDeviceGetMemoryInfo=lambda _device: types.SimpleNamespace(total=150e9),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert hardware._driver_gpus() == ("NVIDIA H200, 150 GB",)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert hardware._driver_gpus() == ()


def test_the_machine_is_seen(tmp_path: Path) -> None:
    seen = hardware.look(tmp_path / "not" / "made" / "yet")
    assert 0 < seen.free_memory_bytes <= seen.memory_bytes
    assert seen.free_disk_bytes > 0
