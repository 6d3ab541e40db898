"""The house rules that no linter states: room sizes, what the wheel holds, and the folder ``mlflow/``."""

import ast
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = sorted((ROOT / "orchestrator").rglob("*.py")) + sorted((ROOT / "objectives").glob("*.py"))


def test_rooms_are_small() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ROOMS}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert statistics.median(n for n in lengths.values() if n > 1) <= 130


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in ROOMS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: n for name, n in long.items() if n > 60} == {}


def test_the_story_of_a_sweep_fits_200_lines() -> None:
    assert len((ROOT / "orchestrator/sweep.py").read_text().splitlines()) < 200


def test_the_folder_mlflow_does_not_hide_the_package() -> None:
    assert [*(ROOT / "mlflow").glob("*.py")] == []  # the local store below may hold adapters' loaders
    found = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('mlflow').origin)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found.strip().endswith("site-packages/mlflow/__init__.py")


def test_the_wheel_holds_our_two_packages_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"orchestrator", "objectives"}
    packaged = {name for name in names if name.endswith(".py")}
    assert packaged == {str(path.relative_to(ROOT)) for path in ROOMS}
    assert "orchestrator/py.typed" in names
