"""Changes of a sweep file on resume: allowed ones and refused ones."""

import json
from pathlib import Path

import pytest

from orchestrator.spec.fingerprint import differences, fingerprint, stored_space
from tests.spec.facts import load

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


def test_fingerprint_is_plain_json(path: Path) -> None:
    facts = fingerprint(load(path))
    assert json.loads(json.dumps(facts)) == facts
    assert differences(facts, facts) == []


def test_space_is_read_back_from_fingerprint(path: Path) -> None:
    space = {
        "method": {"choices": ["lora", "ia3"]},
        "rank": {"low": 4, "high": 64, "log": True, "when": {"method": ["lora"]}},
        "learning_rate": {"low": 1e-4, "high": 1, "log": True},
        "dropout": {"low": 0, "high": 0.2, "step": 0.1},
        "weight_decay": {"value": 0.01},
    }
    spec = load(path, f"search.space={json.dumps(space)}")
    assert stored_space(json.loads(json.dumps(fingerprint(spec)))) == spec.space


def test_fixed_method_keeps_its_key(path: Path) -> None:
    plain = fingerprint(load(path))
    assert (plain["method"], plain["fixed"]) == ("lora", {})
    assert fingerprint(load(path, "adapter.method=lora")) == plain
    other = fingerprint(load(path, "adapter={method: loha, alpha: 8}", "search.space={rank: {choices: [4, 8]}}"))
    assert (other["method"], other["fixed"]) == ("loha", {"alpha": 8.0})


@pytest.mark.parametrize(
    "override",
    [
        "budget.trials=9",
        "budget.wall_time=1h",
        "resources.parallel_trials=2",
        "tracking.keep_adapters=1",
        "tracking.record=true",
        "gates={gap: 0.3, leaked_rows: null}",
        "tracking.uri=http://elsewhere",
        "search.sampler={name: tpe, startup_trials: 4}",
        "search.prior=ledger",
        "description=other words",
        "adapter.dropout=0",
        "training.device=cpu",
    ],
)
def test_resume_allows_change(path: Path, override: str) -> None:
    assert fingerprint(load(path, override)) == fingerprint(load(path))


@pytest.mark.parametrize(
    ("override", "lines"),
    [
        ("objective=headline", [
            "data.source: vader-movie → bbc-news", "model: minilm → smollm2", "objective: sentiment → headline",
            "search.direction: maximize → minimize", "search.metric: val/accuracy → val/loss",
        ]),
        ("model=smollm2", ["model: minilm → smollm2"]),
        ("model=hub:org/minilm", ["model: minilm → hub:org/minilm"]),
        ("model={hub: org/minilm, revision: v2}", ["model: minilm → hub:org/minilm", "model.revision: (absent) → v2"]),
        ("data.shift.tweets=vader-tweets", ["data.shift.tweets: (absent) → vader-tweets"]),
        ("data.train=100", ["data.train: null → 100", "data.train_eval: 500 → 100"]),
        ("training.epochs=2", ["training.epochs: 1.0 → 2.0"]),
        ("search.space.epochs={choices: [1, 2]}", ["search.space.epochs.choices: (absent) → [1.0, 2.0]"]),
        ("training.precision=float32", ["training.precision: auto → float32"]),
        ("adapter.dropout=0.1", ["adapter.dropout: (absent) → 0.1"]),
        ("adapter.method=loha", ["adapter.method: lora → loha"]),
        ("search.space.method={choices: [lora, ia3]}", [
            "adapter.method: lora → (absent)", 'search.space.method.choices: (absent) → ["lora", "ia3"]',
        ]),
        ("training.batch_size=8", ["training.batch_size: (absent) → 8"]),
        ("data.max_length=64", ["data.max_length: (absent) → 64"]),
        ("search.space.rank.choices=[4, 8, 16]", ["search.space.rank.choices: [4, 8] → [4, 8, 16]"]),
        ("search.space.alpha.when.rank=4", ["search.space.alpha.when.rank: [8] → [4]"]),
        ("search.metric=val/loss", [
            "search.direction: maximize → minimize", "search.metric: val/accuracy → val/loss",
        ]),
        ("early_stopping.patience=null", ["early_stopping.patience: 2 → null"]),
        ("early_stopping=hyperband", ["early_stopping.rule: asha → hyperband"]),
        ("seed=4", ["seed: 0 → 4"]),
        ("search.space.dropout={low: 0, high: 0.1}", [
            "search.space.dropout.high: (absent) → 0.1", "search.space.dropout.log: (absent) → false",
            "search.space.dropout.low: (absent) → 0.0", "search.space.dropout.step: (absent) → null",
        ]),
    ],
)  # fmt: skip
def test_resume_names_changed_values(path: Path, override: str, lines: list[str]) -> None:
    assert differences(fingerprint(load(path)), fingerprint(load(path, override))) == lines


def test_rung_metric_enters_if_it_differs(path: Path) -> None:
    plain = fingerprint(load(path))
    assert "metric" not in plain["stopping"]
    assert fingerprint(load(path, "early_stopping.metric=val/accuracy")) == plain
    lines = differences(plain, fingerprint(load(path, "early_stopping.metric=val/loss")))
    assert lines == ["early_stopping.metric: (absent) → val/loss"]


def test_fixed_epochs_keep_their_key(path: Path) -> None:
    facts = fingerprint(load(path, "training.epochs=2"))
    assert (facts["epochs"], facts["fixed"]) == (2.0, {})


ROWS = {"train": "0a", "validation": "0b", "test": "0c"}


def changed(path: Path, override: str, rows: dict[str, str], **other: str) -> list[str]:
    """Return the differences of the whole fingerprints after an override and with other row digests."""
    old = fingerprint(load(path)) | {"rows": ROWS, "objective_file": "11"}
    new = fingerprint(load(path, override) if override else load(path)) | {"rows": ROWS | rows}
    return differences(old, new | {"objective_file": "11"} | other)


@pytest.mark.parametrize(
    "override",
    ["data.train=600", "data.seed=3", "data.columns={text: body}", "data.source=vader-tweets", "data.test=20"],
)
def test_explained_row_changes_are_not_listed(path: Path, override: str) -> None:
    (line,) = changed(path, override, {"train": "1a"})
    assert line.startswith(override.partition("=")[0])


@pytest.mark.parametrize("override", ["", "training.epochs=2", "data.max_length=64", "data.train_eval=9"])
def test_unexplained_row_changes_are_listed_by_split(path: Path, override: str) -> None:
    lines = changed(path, override, {"train": "1a", "test": "1c", "shift/tweets": "1d"})
    assert lines[-1] == "data: the rows have changed in train, test, shift/tweets; was the data file edited?"
    assert len(lines) == 1 + bool(override)
    assert not any("1a" in line for line in lines)


def test_edited_objective_is_listed_without_digest(path: Path) -> None:
    assert changed(path, "", {}, objective_file="22") == ["objective: the code in its file has changed"]
    assert changed(path, "", {"train": "1a"}, objective_file="22") == ["objective: the code in its file has changed"]
