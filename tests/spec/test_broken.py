# ruff: noqa: E501  (a message stands on one line, as the user sees it)
"""Broken sweep files and their exact messages: ``broken/x.yaml`` and ``broken/x.txt``."""

from pathlib import Path

import pytest

from orchestrator.core.errors import SpecError
from orchestrator.core.methods.catalogue import METHODS
from orchestrator.spec.load import load_spec
from tests.spec.facts import PACKAGED, objective_facts

ROOT = Path(__file__).parents[2]
BROKEN = sorted(path.relative_to(ROOT) for path in (ROOT / "tests/spec/broken").glob("*.yaml"))


def _message(path: Path, *overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides, objective_facts=objective_facts, packaged=PACKAGED)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_there_are_at_least_thirty() -> None:
    assert len(BROKEN) >= 30
    assert {path.stem for path in BROKEN} == {path.stem for path in (ROOT / "tests/spec/broken").glob("*.txt")}


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_broken_file_gives_exact_messages(path: Path) -> None:
    assert _message(path) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nonsense", "--set nonsense needs the form a.b=value, got 'nonsense'"),
        ("a..b=1", "--set a..b=1 needs the form a.b=value, got 'a..b=1'"),
        ("data.trian=3", "--set data.trian=3 data.trian: unknown key; did you mean train?"),
        ("adapter.peft_type=IA3", "--set adapter.peft_type=IA3 adapter.peft_type: unknown key; did you mean method?"),
        ("adapter.method=(IA)^3", f"--set adapter.method=(IA)^3 adapter.method: one of {', '.join(METHODS)} is needed, got '(IA)^3'; did you mean ia3?"),
        ("data.train=x", "--set data.train=x data.train: an integer is needed, got 'x'"),
        ("name.first=x", "--set name.first=x name.first: a mapping is needed at name, got 'good'"),
        ("search.start.7.rank=8", "--set search.start.7.rank=8 search.start.7.rank: search.start is a list of length 1, index 7 does not exist"),
        ("search.space.rank={choices: [8, 8]}", "--set search.space.rank={choices: [8, 8]} search.space.rank.choices.1: duplicate choice 8"),
        ("seed=[1", "--set seed=[1 seed: is not valid YAML, expected ',' or ']', but got '<stream end>'"),
        ("training.learning_rate=.nan", "--set training.learning_rate=.nan training.learning_rate: a finite number is needed, got .nan"),
        ("adapter.rank=8", "good.yaml:5:5 search.space.rank: the setting is searched here and fixed by adapter.rank=8; remove one of them"),
        ("budget=", "--set budget= budget: is required"),
    ],
)  # fmt: skip
def test_broken_override_is_named(override: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(
        "name: good\nobjective: sentiment\nsearch:\n  space:\n    rank: {choices: [4, 8]}\n  start:\n    - {rank: 4}\n"
        "budget: {trials: 4}\n"
    )
    assert _message(Path("good.yaml"), override) == message


def test_override_problems_follow_file_problems() -> None:
    overrides = ["seed=x", "name=a b", "budget.trials=0"]
    lines = _message(Path("tests/spec/broken/low_above_high.yaml"), *overrides).splitlines()
    assert [line.split(" ")[0] for line in lines[:2]] == [
        "tests/spec/broken/low_above_high.yaml:5:5",
        "tests/spec/broken/low_above_high.yaml:6:5",
    ]
    assert [line[: len("--set seed")] for line in lines[2:]] == ["--set seed", "--set name", "--set budg"]


def test_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("latin.yaml").write_bytes("name: café\n".encode("latin-1"))
    Path("control.yaml").write_text("name: a\x01b\n")
    Path("sentiment.yaml").write_text("name: x\n")
    assert _message(Path("sentimnt.yaml")) == "sentimnt.yaml: no such file; did you mean sentiment.yaml?"
    assert _message(Path("folder")) == "folder: a file is needed, got a folder"
    assert _message(Path("latin.yaml")) == "latin.yaml: UTF-8 text is needed, got byte 0xe9 at position 9"
    assert _message(Path("control.yaml")).startswith("control.yaml:1:1 is not valid YAML, ")


def test_exponential_aliases_are_refused(tmp_path: Path) -> None:
    levels = "".join(f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    path = tmp_path / "bomb.yaml"
    path.write_text("k0: &a0 [x]\n" + levels)
    assert "aliases expand to more than 20000 values" in _message(path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sentiment", "sweeps/sentiment.yaml"),
        ("sentiment.yaml", "sweeps/sentiment.yaml"),
        ("sentimnt.yml", "sweeps/sentiment.yaml"),
        ("sweeps/sentiment", "sweeps/sentiment.yaml"),
        ("mine", "mine.yaml"),
    ],
)
def test_missing_sweep_gets_a_suggestion(
    written: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweeps").mkdir()
    for name in ("sweeps/sentiment.yaml", "sweeps/topic.yaml", "sweeps/mine.yaml", "mine.yaml"):
        Path(name).touch()
    assert _message(Path(written)) == f"{written}: no such file; did you mean {meant}?"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("bayes", "surrogate"), ("Bayesian", "surrogate"), ("optuna", "tpe"), ("cma", "cmaes"), ("sobol", "qmc")],
)
def test_other_sampler_names_get_a_suggestion(written: str, meant: str) -> None:
    override = f"search.sampler={written}"
    assert _message(ROOT / "sweeps/sentiment.yaml", override).endswith(f"got '{written}'; did you mean {meant}?")
