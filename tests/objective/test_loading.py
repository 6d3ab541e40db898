"""Loading of objectives by name or file, and the errors for incomplete ones."""

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError, ObjectiveError, UserError
from orchestrator.core.metric import Direction
from orchestrator.objective.loading import load_objective, objective_facts, objective_names

WHOLE = """
from orchestrator.core.data import Origin, Source
from orchestrator.objective.classification import TextClassification

class Mine(TextClassification):
    name = "mine"
    labels = ("no", "yes")
    default_source = Source(origin=Origin.LOCAL, name="rows.csv")

OBJECTIVE = Mine()
"""


def whole_with(line: str) -> str:
    return WHOLE.replace('name = "mine"\n', f'name = "mine"\n    {line}\n')


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


MISTAKES = [
    ("x = 1\n", r"mine\.py: the file sets no OBJECTIVE; end it with"),
    (WHOLE.replace("Mine()", "Mine"), r"OBJECTIVE is a class; an instance is needed, `OBJECTIVE = Mine\(\)`"),
    ("class M:\n    name = 'm'\n\nOBJECTIVE = M()\n", r"lacks head, labels, metrics, .*splits, .*baseline; see"),
    (WHOLE.replace('    labels = ("no", "yes")\n', ""), "OBJECTIVE lacks labels; see"),
    (whole_with('default_metric = "val/f2"'), "must be val/ and one of loss, got 'val/f2'"),
    (whole_with('metrics = {"f1": 1}; default_metric = "val/f1"'), "metrics must contain loss"),
    ("import math\ndef broken(:\n", r"mine\.py:2: SyntaxError"),
]
"""Files with a mistake, found with and without executing them, and the message."""


def test_shipped_objectives_are_complete() -> None:
    assert objective_names() == (
        "chat",
        "chat_preference",
        "classification",
        "entities",
        "extractive_qa",
        "generation",
        "generation_seq2seq",
        "headline",
        "headline_seq2seq",
        "multi_label",
        "preference",
        "regression",
        "sentiment",
        "short_headline",
        "topic",
    )
    for name in objective_names():
        assert load_objective(name).name == name


def test_facts_come_from_the_objective() -> None:
    facts = objective_facts("sentiment")
    assert facts.default_metric == "val/accuracy"
    assert facts.metrics == {
        "loss": Direction.MINIMIZE,
        "accuracy": Direction.MAXIMIZE,
        "macro_f1": Direction.MAXIMIZE,
    }
    assert (facts.default_model.name, facts.default_source.name) == ("minilm", "vader-movie")


def test_facts_load_no_heavy_library() -> None:
    code = (
        "import sys\n"
        "from orchestrator.objective.loading import objective_facts, objective_names\n"
        "[objective_facts(name) for name in objective_names()]\n"
        "heavy = ('torch', 'datasets', 'transformers', 'sklearn', 'numpy', 'pandas', 'ray', 'mlflow', 'optuna')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_changed_file_is_loaded_again(tmp_path: Path) -> None:
    path = write(tmp_path, WHOLE)
    first = load_objective(path)
    assert load_objective(path) is first
    write(tmp_path, WHOLE.replace('"mine"', '"changed"'))
    assert load_objective(path).name == "changed"


def test_files_with_equal_names_do_not_collide(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = write(tmp_path, WHOLE)
    two = write(tmp_path / "other", WHOLE.replace('"mine"', '"two"'))
    assert (load_objective(one).name, load_objective(two).name) == ("mine", "two")
    assert type(load_objective(one)).__module__ in sys.modules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *MISTAKES,
        (whole_with('head = "masked_lm"'), "head must be one of sequence_.*, got 'masked_lm"),
        (whole_with('problem = "ranking"'), "problem must be one of .*regression, got 'ranking'; no engine trains"),
        ("import math\nmath.nothing\n", r"mine\.py:2: AttributeError: .*nothing"),
        ("import sys\nsys.exit('no accelerator')\n", r"mine\.py:2: SystemExit: no accelerator"),
    ],
)  # fmt: skip
def test_errors_of_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_objective(write(tmp_path, text))


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="unknown objective 'sentimnt'; did you mean sentiment"):
        load_objective("sentimnt")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UserError, match=r"objective file /nowhere/mine\.py does not exist"):
        load_objective("/nowhere/mine.py")


def test_raising_hook_is_located(tmp_path: Path) -> None:
    broken = "    def measure(self, pairs):\n        return {'f1': len(pairs) / 0}\n\n    def baseline(self, splits):\n"
    text = WHOLE.replace("OBJECTIVE =", f"{broken}        raise ValueError('secret ' * 100)\n\nOBJECTIVE =")
    path = write(tmp_path, text)
    line = text.splitlines().index("        return {'f1': len(pairs) / 0}") + 1
    for _ in range(2):  # a second load adds no second guard
        with pytest.raises(ObjectiveError) as caught:
            load_objective(path).measure([(0, 0)])
        assert str(caught.value) == f"objective {path}:{line}: measure raised ZeroDivisionError: division by zero"
    with pytest.raises(ObjectiveError, match=r"baseline raised ValueError: secret secret") as caught:
        load_objective(path).baseline(None)  # type: ignore[arg-type]
    assert len(str(caught.value)) < len(path) + 260


@pytest.mark.parametrize(
    "error", ["MemoryError()", "RuntimeError('CUDA error: out of memory')", "DataError('no rows')"]
)
def test_errors_handled_by_engines_pass_unchanged(tmp_path: Path, error: str) -> None:
    text = "from orchestrator.core.errors import DataError\n" + WHOLE.replace(
        "OBJECTIVE =", f"    def measure(self, pairs):\n        raise {error}\n\nOBJECTIVE ="
    )
    with pytest.raises((MemoryError, RuntimeError, DataError)) as caught:
        load_objective(write(tmp_path, text)).measure([])
    assert not isinstance(caught.value, ObjectiveError)


def test_raising_override_is_located(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "OBJECTIVE =", "    def read(self, source, columns):\n        return {}['rows']\n\nOBJECTIVE ="
    )
    path = write(tmp_path, text)
    with pytest.raises(ObjectiveError, match=rf"objective {path}:\d+: read raised KeyError: 'rows'"):
        load_objective(path).splits(DataPlan(source=Source(origin=Origin.LOCAL, name="rows.csv")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('metrics = {"loss": None, "hit@1": None, "hit#1": None}', "'hit@1' and 'hit#1' are both recorded as 'hit_1'"),
        ('metrics = {"loss": None, "": None}', "a metric's name must be text that is not blank, got ''"),
    ],
)
def test_colliding_metric_names_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=f"objective .*mine.py: .*{message}"):
        load_objective(write(tmp_path, whole_with(line)))


def test_blank_objective_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name must be text that is not blank, got ' '"):
        load_objective(write(tmp_path, WHOLE.replace('"mine"', '" "')))
