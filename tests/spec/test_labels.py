"""``data.labels``: the class name for each value in the data."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.errors import SpecError
from orchestrator.objective.loading import objective_facts as executed_facts
from orchestrator.spec.fingerprint import differences, fingerprint
from orchestrator.spec.load import load_spec
from orchestrator.spec.sweep_spec import SweepSpec
from tests.spec.facts import CLASSIFICATION, PACKAGED, SMALL, load


def labelled(folder: Path, labels: str, text: str = SMALL, *overrides: str) -> SweepSpec:
    path = folder / "small.yaml"
    path.write_text(f"{text}data:\n  labels: {labels}\n")
    return load(path, *overrides)


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("{neg: negative, pos: POSITIVE}", {"neg": "negative", "pos": "positive"}),
        ("{0: negative, -1: null}", {"0": "negative", "-1": None}),
        ("{true: positive, False: negative}", {"true": "positive", "False": "negative"}),
        ("{1.0: positive, 2023-01-01: negative, '': null}", {"1.0": "positive", "2023-01-01": "negative", "": None}),
    ],
)
def test_keys_may_be_of_any_kind(written: str, labels: dict[str, str | None], tmp_path: Path) -> None:
    assert labelled(tmp_path, written).data.labels == labels


def test_unknown_class_names_are_located(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        labelled(tmp_path, "{neg: negativ, pos: 3}")
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[1] for line in lines] == ["data.labels.neg:", "data.labels.pos:"]
    assert [line.split(" ")[0].split(":")[1] for line in lines] == ["8", "8"]
    assert "one of negative, positive is needed, got 'negativ'; did you mean negative?" in lines[0]
    with pytest.raises(SpecError, match=r"data.labels: a mapping of values in the data to class names is needed"):
        labelled(tmp_path, "[neg, pos]")


@pytest.mark.parametrize("written", ["{1: negative, 1.0: positive}", "{' a ': negative, a: positive}"])
def test_two_keys_of_one_value_are_refused(written: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.labels\.(1\.0|a): is the same value as '(1|a)'"):
        labelled(tmp_path, written)


def test_class_names_wait_for_unknown_classes(tmp_path: Path) -> None:
    facts = replace(CLASSIFICATION, labels=None)
    path = tmp_path / "small.yaml"
    path.write_text(f"{SMALL}data:\n  labels: {{neg: Negative, 1: 5, x: null}}\n")
    spec = load_spec(path, (), objective_facts=lambda _: facts, packaged=PACKAGED)
    assert spec.data.labels == {"neg": "Negative", "1": "5", "x": None}


@pytest.mark.parametrize("objective", ["multi_label", "regression", "entities", "headline"])
def test_objectives_without_one_class_per_row_refuse_class_weights(objective: str, tmp_path: Path) -> None:
    def message(*overrides: str) -> str:
        with pytest.raises(SpecError) as caught:
            load_spec(path, overrides, objective_facts=executed_facts, packaged=PACKAGED)
        return str(caught.value)

    path = tmp_path / "small.yaml"
    path.write_text(f"{SMALL}training: {{class_weights: balanced}}\n".replace("sentiment", objective))
    rule = f"class_weights: objective '{objective}' does not give each row one class, got 'balanced'; remove this key"
    assert f"{path}:7:12 training.{rule}" in message().splitlines()
    path.write_text(SMALL.replace("sentiment", objective))
    searched = "search.space.class_weights={choices: [none, balanced]}"
    assert f"search.space.{rule}" in message(searched)


def test_objectives_without_classes_refuse_labels(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"data.labels: the objective has no classes"):
        labelled(tmp_path, "{neg: negative}", SMALL.replace("sentiment", "headline"))


def test_objectives_without_classes_refuse_pairs(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL + "data:\n  columns: {text: a, text_pair: b}\n")
    assert load(path).data.columns["text_pair"] == "b"
    path.write_text(path.read_text().replace("sentiment", "headline"))
    with pytest.raises(
        SpecError, match=r"yaml:8:\d+ data.columns.text_pair: the objective reads one text per row. Remove"
    ):
        load(path)


def test_sweeps_without_labels_keep_their_fingerprint(tmp_path: Path) -> None:
    plain, used = fingerprint(labelled(tmp_path, "{}")), fingerprint(labelled(tmp_path, "{neg: negative}"))
    assert "labels" not in plain["data"]
    assert differences(plain, used) == ["data.labels.neg: (absent) → negative"]
