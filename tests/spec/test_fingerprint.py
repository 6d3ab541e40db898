"""What may change when a sweep goes on, and what may not."""

import json
from pathlib import Path

import pytest

from orchestrator.spec.fingerprint import differences
from orchestrator.spec.load import load_spec
from orchestrator.spec.sweep_spec import SweepSpec
from tests.spec.facts import PACKAGED, objective_facts

TEXT = """
name: small
objective: sentiment
search:
  space:
    rank: {choices: [4, 8]}
    alpha: {low: 8, high: 32, when: {rank: 8}}
budget: {trials: 4}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(TEXT)
    return path


def load(path: Path, *overrides: str) -> SweepSpec:
    return load_spec(path, overrides, objective_facts=objective_facts, packaged=PACKAGED)


def test_it_is_plain_json(path: Path) -> None:
    fingerprint = load(path).fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert differences(fingerprint, fingerprint) == []


@pytest.mark.parametrize(
    "override",
    [
        "budget.trials=9",
        "budget.wall_time=1h",
        "resources.parallel_trials=2",
        "tracking.keep_adapters=1",
        "tracking.uri=http://elsewhere",
        "search.sampler={name: tpe, startup_trials: 4}",
        "description=other words",
        "adapter.dropout=0",
        "training.device=cpu",
    ],
)
def test_what_may_change(path: Path, override: str) -> None:
    assert load(path, override).fingerprint() == load(path).fingerprint()


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ("objective=headline", [
            "data.source.name: vader-movie → bbc-news", "metric.direction: maximize → minimize",
            "metric.name: val/accuracy → val/loss", "model.name: minilm → smollm2", "objective: sentiment → headline",
        ]),
        ("model=smollm2", ["model.name: minilm → smollm2"]),
        ("data.train=100", ["data.train: null → 100", "data.train_eval: 500 → 100"]),
        ("training.epochs=2", ["epochs: 1.0 → 2.0"]),
        ("training.precision=float32", ["precision: auto → float32"]),
        ("adapter.dropout=0.1", ["fixed.dropout: (absent) → 0.1"]),
        ("search.space.rank.choices=[4, 8, 16]", ["space.rank.choices: [4, 8] → [4, 8, 16]"]),
        ("search.space.alpha.when.rank=4", ["space.alpha.when.rank: [8] → [4]"]),
        ("search.metric=val/loss", ["metric.direction: maximize → minimize", "metric.name: val/accuracy → val/loss"]),
        ("early_stopping.patience=null", ["stopping.patience: 2 → null"]),
        ("early_stopping=hyperband", ["stopping.rule: asha → hyperband"]),
        ("seed=4", ["seed: 0 → 4"]),
        ("search.space.dropout={low: 0, high: 0.1}", [
            "space.dropout.high: (absent) → 0.1", "space.dropout.log: (absent) → false",
            "space.dropout.low: (absent) → 0.0", "space.dropout.step: (absent) → null",
        ]),
    ],
)  # fmt: skip
def test_what_may_not_change_is_shown(path: Path, override: str, lines: list[str]) -> None:
    assert differences(load(path).fingerprint(), load(path, override).fingerprint()) == lines
