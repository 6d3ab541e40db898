"""The sweeps that ship: each loads against the real objectives, says how it is run, and loads nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.objective.loading import objective_facts
from orchestrator.spec.load import load_spec

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").rglob("*.yaml"))
HEAVY = ("torch", "ray", "mlflow", "transformers", "datasets", "pandas", "sklearn", "optuna", "numpy", "matplotlib")


def test_all_are_found() -> None:
    assert len(SWEEPS) == 4


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_it_loads(path: Path) -> None:
    spec = load_spec(path, objective_facts=objective_facts, packaged=CATALOGUE)
    assert spec.name == path.stem
    assert spec.space.searched
    for point in spec.start_points:
        spec.settings_for(point)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_its_header_gives_the_command_the_time_and_what_it_shows(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=sweep.schema.json"
    header = "\n".join(line for line in lines[: lines.index("")])
    for word in ("command   make sweep", "time      ", "shows     "):
        assert f"#   {word}" in header


def test_loading_imports_nothing_heavy() -> None:
    """A person who waits for ``validate`` or ``--help`` waits for these imports."""
    code = (
        "import sys, pathlib\n"
        "from orchestrator.spec.load import load_spec\n"
        "from tests.spec.facts import PACKAGED, objective_facts\n"
        "load_spec(pathlib.Path('sweeps/sentiment.yaml'), objective_facts=objective_facts, packaged=PACKAGED)\n"
        f"sys.exit(','.join(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
