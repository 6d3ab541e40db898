"""The shipped sweep files load with the real objectives, and loading imports no heavy library."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.loading import objective_facts
from orchestrator.spec.load import load_spec
from tests.spec.facts import OPTIONAL, pretend_installed

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").rglob("*.yaml"))
WHOLE = ("entities", "extractive-answers", "own-objective", "preference-tuning")
"""The pages with a whole sweep file."""
DOCUMENTED = sorted((ROOT / "docs").rglob("*.yaml"))
HEAVY = ("torch", "ray", "mlflow", "transformers", "datasets", "pandas", "sklearn", "optuna", "numpy", "plotly")


def test_number_of_shipped_sweeps() -> None:
    assert len(SWEEPS) == 15
    assert len(DOCUMENTED) == 6


def test_page_lists_each_shipped_sweep() -> None:
    page = (ROOT / "docs/howto/shipped-sweeps.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9_/-]+\.yaml)`", page, re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in (*SWEEPS, *DOCUMENTED))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the folder of the examples, with the data files of the pages."""
    folder = shutil.copytree(ROOT / "docs" / "examples", tmp_path_factory.mktemp("docs") / "examples")
    for name in ("questions.jsonl", "pairs.jsonl", "news.jsonl"):
        (folder / name).write_text("{}\n")
    return folder


@pytest.mark.parametrize("path", [*SWEEPS, *DOCUMENTED], ids=lambda path: path.stem)
def test_shipped_sweep_loads(path: Path, examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem in OPTIONAL:
        pretend_installed(OPTIONAL[path.stem], monkeypatch)
    file = examples / path.name if path in DOCUMENTED else path
    spec = load_spec(file, objective_facts=objective_facts, packaged=CATALOGUE)
    assert spec.name == path.stem
    assert spec.space.searched
    for point in spec.start_points:
        if spec.function is None:
            TrialSettings.from_params({**spec.fixed, **point})


@pytest.mark.parametrize("path", [*SWEEPS, *DOCUMENTED], ids=lambda path: path.stem)
def test_shipped_sweeps_name_their_schema(path: Path) -> None:
    first, *_ = path.read_text().splitlines()
    schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert schema.resolve() == ROOT / "sweeps" / "sweep.schema.json"
    jsonschema.validate(YAML(typ="safe", pure=True).load(path), json.loads(schema.read_text()))


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem)
def test_sweep_files_in_docs_load(page: Path, examples: Path) -> None:
    """Each sweep file in a page is loaded from the folder of the examples."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    whole = [block for block in blocks if re.search(r"^name:", block, re.MULTILINE)]
    assert len(whole) == (page.stem in WHOLE)
    for block in whole:
        (examples / "block.yaml").write_text(block)
        load_spec(examples / "block.yaml", objective_facts=objective_facts, packaged=CATALOGUE)


def test_readme_sweep_loads_under_its_own_name(tmp_path: Path) -> None:
    """With the name of an example, it would be refused as a changed version of this sweep."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "messages.csv").write_text("body,label\n")
    (tmp_path / "block.yaml").write_text(block)
    spec = load_spec(tmp_path / "block.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    assert spec.name not in {path.stem for path in (*SWEEPS, *DOCUMENTED)}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_header_gives_command_and_purpose(path: Path) -> None:
    """A time is given only if it was measured."""
    lines = path.read_text().splitlines()
    header = "\n".join(line for line in lines[: lines.index("")])
    for word in ("command   make sweep", "shows     "):
        assert f"#   {word}" in header


def test_loading_imports_nothing_heavy() -> None:
    """These imports would delay ``validate`` and ``--help``."""
    code = (
        "import sys, pathlib\n"
        "from orchestrator.spec.load import load_spec\n"
        "from tests.spec.facts import PACKAGED, objective_facts\n"
        "load_spec(pathlib.Path('sweeps/sentiment.yaml'), objective_facts=objective_facts, packaged=PACKAGED)\n"
        f"sys.exit(','.join(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
