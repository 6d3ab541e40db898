"""The displayed command line of this program works where it is displayed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.core.system.environment import not_installed, program, usable_cores


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base interpreter, to which environments link."""
    return executable(tmp_path / "base" / "python3")


def executable(path: Path, target: Path | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if target is not None:
        path.symlink_to(target)
        return path
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def runs(monkeypatch: pytest.MonkeyPatch, interpreter: Path, path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setenv("PATH", str(path))


def test_activated_environment_is_called_python(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = executable(tmp_path / ".venv" / "bin" / "python", base)
    runs(monkeypatch, running, running.parent)
    assert program() == "python -m orchestrator"
    runs(monkeypatch, executable(running.with_name("python3"), base), running.parent)
    assert program() == "python -m orchestrator"


def test_other_interpreters_are_named_by_path(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = executable(tmp_path / ".venv" / "bin" / "python", base)
    elsewhere = executable(tmp_path / "other" / "bin" / "python", base)  # without our packages
    runs(monkeypatch, running, elsewhere.parent)
    monkeypatch.chdir(tmp_path)
    assert program() == ".venv/bin/python -m orchestrator"
    monkeypatch.chdir(tmp_path / "other")
    assert program() == f"{running} -m orchestrator"
    monkeypatch.chdir(running.parent)
    assert program() == f"{running} -m orchestrator"


def test_path_with_a_space_is_quoted(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs(monkeypatch, executable(tmp_path / "my env" / "bin" / "python", base), tmp_path / "empty")
    monkeypatch.chdir(tmp_path)
    assert program() == "'my env/bin/python' -m orchestrator"


def test_program_command_runs() -> None:
    words = shlex.split(program())
    done = subprocess.run(
        [*words[:1], "-c", "import sys; print(sys.prefix)"], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == sys.prefix


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinities")
def test_folder_of_a_removed_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "removed" / "__pycache__").mkdir(parents=True)
    (tmp_path / "there.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "pip install removed" in (not_installed("removed", "nf4") or "")
    assert not_installed("there", "nf4") is None


def test_only_usable_processors_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 5, 6})
    assert usable_cores() == 3
