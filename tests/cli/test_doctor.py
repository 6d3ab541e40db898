"""Checks of ``doctor``."""

import json
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest
import torch

from orchestrator.cli.hardware import detect_hardware
from orchestrator.cli.installed import NEEDED, check_package, required_versions
from tests.cli.conftest import Run


def test_healthy_machine_has_no_problems(command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    document = json.loads(command("doctor", "--json").stdout)
    assert document["broken"] == []
    versions = {item["name"]: item["version"] for item in document["packages"]}
    assert versions["optuna"] == metadata.version("optuna")
    assert document["hardware"]["cores"] >= 1
    assert document["hardware"]["memory_bytes"] > 1e8
    assert set(document["assets"].values()) == {None}
    assert any("not downloaded yet" in line for line in document["warnings"])


def test_unknown_asset_is_user_error(called: Run) -> None:
    assert "minilm" in called("doctor", "--fetch", "minilmm", check=2).stderr


def test_doctor_finds_broken_ledger(called: Run, home: Path) -> None:
    home.mkdir()
    (home / "ledger.db").write_bytes(b"this is no database, whatever its name says" * 100)
    assert any(line.startswith("ledger:") for line in json.loads(called("doctor", "--json", check=1).stdout)["broken"])


def test_doctor_finds_folder_hiding_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shadowed").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    found = check_package("pytest", "shadowed")
    assert found.problem == "hidden by a folder of the same name on the Python path"
    assert check_package("torch", "torch").problem is None


def test_doctor_finds_missing_and_wrong_packages(tmp_path: Path) -> None:
    needs = ["optuna<1 ; extra == 'old'", "ray[tune]>=999", "torch==2.13.0"]
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "loratory"\ndependencies = {json.dumps(needs)}\n')
    wanted = required_versions(tmp_path)
    assert wanted == {"ray": ">=999", "torch": "==2.13.0"}
    assert check_package("no-such-distribution", "nowhere").problem == "not installed"
    assert check_package("ray", "ray", wanted["ray"]).problem == "version >=999 is required"
    assert check_package("torch", "torch", wanted["torch"]).problem is None  # 2.13.0+cpu is 2.13.0


def test_optional_packages_may_be_missing() -> None:
    absent = check_package("no-such-distribution", "nowhere", optional=True)
    present = check_package("optuna", "optuna", optional=True)
    assert (absent.version, absent.problem) == (None, None)
    assert (present.version, present.problem) == (metadata.version("optuna"), None)


@pytest.mark.parametrize("beside", [None, "[build-system]\n", '[project]\nname = "another"\n'])
def test_installed_wheel_knows_its_requirements(
    beside: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if beside is not None:
        (tmp_path / "pyproject.toml").write_text(beside)
    installed = tmp_path / "loratory-9.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: loratory\nVersion: 9\nRequires-Dist: optuna>=999\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert required_versions(tmp_path) == {"optuna": ">=999"}


def test_every_checked_package_has_version_range() -> None:
    assert set(NEEDED) <= set(required_versions())


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can use this machine's devices")
def test_driver_names_devices_unusable_by_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = types.ModuleType("pynvml")  # replaces NVIDIA's library
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
    (device,) = detect_hardware(tmp_path).gpus
    assert device == f"NVIDIA H200, 150 GB (torch {torch.__version__} cannot use it)"
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert detect_hardware(tmp_path).gpus == ()


def test_hardware_is_detected(tmp_path: Path) -> None:
    seen = detect_hardware(tmp_path / "not" / "made" / "yet")
    assert 0 < seen.free_memory_bytes <= seen.memory_bytes
    assert seen.free_disk_bytes > 0
