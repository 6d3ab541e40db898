"""Facts of an objective's file without executing it."""

from pathlib import Path

import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.metric import Direction
from orchestrator.objective.loading import objective_facts
from orchestrator.objective.static import static_facts
from tests.objective.test_loading import MISTAKES, WHOLE, whole_with, write

EXAMPLE = Path(__file__).parents[2] / "docs/examples/my_objective.py"
TRAP = "\nfrom pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


def test_static_facts_equal_executed_facts(tmp_path: Path) -> None:
    for ref in ("sentiment", str(EXAMPLE), write(tmp_path, WHOLE)):
        executed, static = objective_facts(ref), static_facts(ref)
        assert (static.metrics, static.default_metric) == (executed.metrics, executed.default_metric)
        assert static.complete
        assert static.default_model == executed.default_model
    assert static.default_source == executed.default_source


@pytest.mark.parametrize(
    ("line", "one_class"),
    [
        ("problem = Problem.SINGLE_LABEL", True),
        ("problem = Problem.REGRESSION", False),
        ('problem = "multi_label_classification"', False),
        ("head = Head.TOKEN_CLASSIFICATION", False),
        ("problem = chosen()", True),
    ],
)
def test_one_class_per_row_is_read(line: str, one_class: bool, tmp_path: Path) -> None:
    head = "from orchestrator.core.tasks.problem import Problem\nfrom orchestrator.objective.protocol import Head\n"
    assert static_facts(write(tmp_path, head + whole_with(line))).one_class is one_class
    assert static_facts("regression").one_class is False


def test_file_is_not_executed(tmp_path: Path) -> None:
    assert static_facts(write(tmp_path, TRAP + WHOLE + TRAP)).complete
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("lines", "metrics"),
    [
        ('metrics = {"loss": Direction.MINIMIZE, "f2": Direction.MAXIMIZE}; default_metric = "val/f2"', {"f2"}),
        ('metrics = {"loss": "minimize", "f2": "maximize"}; default_metric = "val/f2"', {"f2"}),
        ('metrics = {**TextClassification.metrics, "f2": Direction.MAXIMIZE}', {"f2"}),
        ("metrics = METRICS", {"f3"}),
    ],
)
def test_literals_and_constants_are_read(tmp_path: Path, lines: str, metrics: set[str]) -> None:
    head = "from orchestrator.core.metric import Direction\n"
    head += 'METRICS = {"loss": Direction.MINIMIZE, "f3": Direction.MAXIMIZE}\n'
    facts = static_facts(write(tmp_path, head + whole_with(lines)))
    assert facts.complete
    assert {name for name, direction in facts.metrics.items() if direction is Direction.MAXIMIZE} == metrics


@pytest.mark.parametrize(
    "text",
    [
        whole_with("metrics = dict(loss=1)"),
        whole_with('metrics = {"loss": minimize()}'),
        WHOLE + 'OBJECTIVE.metrics = {"loss": "minimize", "f2": "maximize"}\n',
        WHOLE.replace("OBJECTIVE = Mine()", "OBJECTIVE = make()"),
        WHOLE.replace("OBJECTIVE = Mine()", "OBJECTIVE = Mine(3)"),
        WHOLE.replace("class Mine(TextClassification)", "class Mine(Theirs)"),
        WHOLE.replace("class Mine", "@changed\nclass Mine"),
        "from elsewhere import OBJECTIVE\n",
        "from elsewhere import *\n",
        'METRICS = {"loss": "minimize"}\nMETRICS["f2"] = "maximize"\n' + whole_with("metrics = METRICS"),
        "class M(M): pass\n\nOBJECTIVE = M()\n",
    ],
)
def test_dynamic_members_are_unknown(tmp_path: Path, text: str) -> None:
    assert not static_facts(write(tmp_path, text)).complete


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *MISTAKES,
        ("x = '\0'\n", r"mine\.py.*null bytes"),
        ("x = " + "(" * 3000, r"objective .*mine\.py"),
        ("x = 1\n" * 200_000, r"^objective \S+mine\.py: a file has at most 1024 KiB, got more$"),
    ],
)
def test_errors_are_found_without_execution(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        static_facts(write(tmp_path, text))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"objective /nowhere/mine\.py: cannot be read, No such file"):
        static_facts("/nowhere/mine.py")
