"""The rules of the code that no linter checks: sizes of files, suppressions, the wheel, and the folder ``mlflow/``."""

import ast
import re
import statistics
import subprocess
import sys
import tokenize
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "orchestrator").rglob("*.py")) + sorted((ROOT / "objectives").glob("*.py"))
SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore|ruff:\s*noqa|mypy:)")
SUPPRESSIONS_PER_1000_LINES = 3


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(lines_of(path)) for path in FILES}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
    assert statistics.median(n for n in lengths.values() if n > 1) <= 120


def test_functions_are_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: n for name, n in long.items() if n > 60} == {}


def suppressions(path: Path) -> list[str]:
    """Return the comments of a file that switch a linter or the type checker off."""
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    name = path.relative_to(ROOT)
    return [f"{name}:{token.start[0]} {token.string}" for token in comments if SUPPRESSION.search(token.string)]


def test_suppressions_are_rare() -> None:
    found = [comment for path in FILES for comment in suppressions(path)]
    rate = 1000 * len(found) / sum(len(lines_of(path)) for path in FILES)
    assert rate <= SUPPRESSIONS_PER_1000_LINES, "\n".join(found)


def test_story_of_a_sweep_fits_200_lines() -> None:
    assert len(lines_of(ROOT / "orchestrator/sweep.py")) < 200


def test_folder_mlflow_does_not_hide_the_package() -> None:
    assert [*(ROOT / "mlflow").glob("*.py")] == []  # the local store below may hold adapters' loaders
    found = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('mlflow').origin)"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found.strip().endswith("site-packages/mlflow/__init__.py")


def test_wheel_holds_two_packages_alone(tmp_path: Path) -> None:
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
    assert packaged == {str(path.relative_to(ROOT)) for path in FILES}
    assert {"orchestrator/py.typed", "orchestrator/search/prior/rates.csv"} <= {*names}
