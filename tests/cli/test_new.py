"""``new objective``: the written files pass their own tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.core.errors import UserError
from tests.cli.conftest import ROOT, Invoke


def _pytest(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / f"test_{name}.py")]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_new_function_passes_its_test_and_validates(invoke: Invoke, tmp_path: Path) -> None:
    invoke("new", "objective", "straight_line", "--kind", "function", "--folder", str(tmp_path))
    done = _pytest(tmp_path, "straight_line")
    assert "2 passed" in done.stdout, done.stdout
    assert "valid" in invoke("validate", str(tmp_path / "straight_line.yaml")).output


def test_new_task_passes_its_contract(invoke: Invoke, tmp_path: Path) -> None:
    invoke("new", "objective", "my_topics", "--folder", str(tmp_path))
    done = _pytest(tmp_path, "my_topics")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_new_overwrites_nothing(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("")
    with pytest.raises(UserError, match=r"test_mine\.py exists"):
        invoke("new", "objective", "mine", "--folder", str(tmp_path))
    assert not (tmp_path / "mine.py").exists()
    with pytest.raises(UserError, match="a Python name in lower case is needed"):
        invoke("new", "objective", "Mine-1", "--folder", str(tmp_path))


@pytest.mark.parametrize("name", ["none", "true", "class"])
def test_words_of_python_are_no_names(invoke: Invoke, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"a word of the Python language cannot be a name, got '{name}'"):
        invoke("new", "objective", name, "--folder", str(tmp_path))
    assert not [*tmp_path.iterdir()]
