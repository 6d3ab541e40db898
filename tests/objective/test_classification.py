"""``TextClassification``: labels, encoding, padding and the loss."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.padding import IGNORED, pad
from orchestrator.objective.splits import shift_columns
from tests.fakes.tiny_models import tiny_bert


class Mood(TextClassification):
    name = "mood"
    labels = ("sad", "Happy")
    default_source = Source(origin=Origin.LOCAL, name="none.csv")


def local(path: Path, columns: Mapping[str, list[Any]]) -> Source:
    datasets.Dataset.from_dict(dict(columns)).to_csv(str(path), index=False)
    return Source(origin=Origin.LOCAL, name=str(path))


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return tiny_bert(tmp_path / "bert")


@pytest.mark.parametrize(
    ("given", "ids"),
    [(["sad", "HAPPY ", "happy"], [0, 1, 1]), ([0, 1, 1], [0, 1, 1]), ([0.0, 1.0, 1.0], [0, 1, 1])],
)
def test_labels_may_be_names_or_ids(tmp_path: Path, given: list[Any], ids: list[int]) -> None:
    rows = Mood().read(local(tmp_path / "a.csv", {"text": ["a", "b", "c"], "label": given}), {})
    assert rows["label"][:] == ids


@pytest.mark.parametrize(("names", "ids"), [(["happy", "sad"], [1, 0]), (["0", "1"], [0, 1])])
def test_class_names_of_data_take_precedence(monkeypatch: pytest.MonkeyPatch, names: list[str], ids: list[int]) -> None:
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=names))
    rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: rows)
    assert Mood().read(Source(origin=Origin.HUB, name="org/rows"), {})["label"][:] == ids


def test_unknown_label_is_located(tmp_path: Path) -> None:
    source = local(tmp_path / "a.csv", {"text": ["a", "b", "c"], "mood": ["sad", "glad", "happy"]})
    with pytest.raises(DataError, match=r"column mood of .*a\.csv: 'glad' \(row 2\) is not a class of mood"):
        Mood().read(source, {"label": "mood"})


def test_splits_use_renamed_columns(tmp_path: Path) -> None:
    names = {"text": "review", "label": "mood"}
    rows: dict[str, list[Any]] = {
        "review": [f"row {i}" for i in range(40)],
        "mood": ["sad", "happy"] * 20,
        "other": [1] * 40,
    }
    shift: dict[str, list[Any]] = {"review": [f"row {i}" for i in range(30, 60)], "mood": ["sad", "happy"] * 15}
    plan = DataPlan(
        source=local(tmp_path / "a.csv", rows),
        columns=names,
        validation=10,
        test=10,
        shift={"late": local(tmp_path / "b.csv", shift)},
        shift_rows=12,
    )
    splits = Mood().splits(plan)
    assert splits.train.column_names == ["text", "label"]
    assert [len(rows) for rows in (splits.train, splits.validation, splits.test)] == [20, 10, 10]
    assert sum(splits.test["label"]) == 5
    assert len(splits.shift["late"]) == 12
    assert set(splits.shift["late"]["text"]).isdisjoint(splits.train["text"])
    assert shift_columns(plan.source, plan) == names
    assert shift_columns(Source(origin=Origin.PACKAGED, name="vader-nyt"), plan) == {}


def test_rule_one_reads_files_as_before(tmp_path: Path) -> None:
    texts = [*(f"row {i}" for i in range(20)), "null", "N/A", "nan"]
    groups = ["", *map(str, range(1, 23))]
    source = local(tmp_path / "a.csv", {"text": texts, "label": ["sad", "happy"] * 11 + ["sad"], "group": groups})
    plan = DataPlan(source=source, validation=4, test=4)
    splits = Mood().splits(plan)
    assert len(splits.train) == 15
    assert {type(group) for group in splits.train["group"]} <= {int, type(None)}
    old = Mood().splits(replace(plan, split_rule=1))
    assert (len(old.train), old.summary.dropped) == (12, {"blank text": 3})
    assert old.summary.split_rule == 1
    assert {type(group) for group in old.train["group"]} <= {float, type(None)}


def test_rows_are_truncated_and_padded(encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    rows = datasets.Dataset.from_dict({"text": ["good " * 50, "bad film"], "label": [1, 0]})
    examples = Mood().encode(rows, tokenizer, max_length=8)
    assert [len(example["input_ids"]) for example in examples] == [8, 4]
    batch = Mood().collate(examples, tokenizer)
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 8)
    assert batch["attention_mask"].sum(dim=1).tolist() == [8, 4]
    assert batch["input_ids"][1, 4:].tolist() == [tokenizer.pad_token_id] * 4
    assert batch["labels"].tolist() == [1, 0]
    assert Mood().encode(rows.select([]), tokenizer, max_length=8) == []


def test_loss_equals_transformers_and_is_additive(encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModelForSequenceClassification.from_pretrained(encoder).eval()
    rows = datasets.Dataset.from_dict({"text": ["good", "bad film", "the plot was fine"], "label": [1, 0, 1]})
    mood = Mood()
    examples = mood.encode(rows, tokenizer, max_length=16)
    batch = mood.collate(examples, tokenizer)
    out = model(**batch)
    sums_B, units_B = mood.losses(out.logits, batch)
    assert units_B.tolist() == [1, 1, 1]
    torch.testing.assert_close(sums_B.sum() / units_B.sum(), out.loss)
    parts = [mood.collate(part, tokenizer) for part in (examples[:1], examples[1:])]
    alone = torch.cat([mood.losses(model(**part).logits, part)[0] for part in parts])
    torch.testing.assert_close(alone, sums_B, atol=1e-5, rtol=1e-5)
    assert mood.losses(out.logits, batch, label_smoothing=0.5)[0].tolist() != sums_B.tolist()
    pairs = mood.predictions(out.logits, batch)
    assert [true for _, true in pairs] == [1, 0, 1]
    assert [predicted for predicted, _ in pairs] == out.logits.argmax(dim=1).tolist()


@pytest.mark.parametrize("kind", [np.int8, np.int32, bool])
def test_labels_may_be_numbers_of_any_kind(kind: type, encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    rows = [{"input_ids": [5, 6], "labels": kind(1)}, {"input_ids": np.array([7]), "labels": kind(0)}]
    batch = pad(rows, tokenizer)
    assert batch["labels"].dtype is torch.int64
    assert batch["labels"].tolist() == [1, 0]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]


def test_labels_of_tokens_may_be_arrays(encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    rows = [
        {"input_ids": [5, 6], "labels": np.array([1, 2], np.int32)},
        {"input_ids": [7], "labels": torch.tensor([3])},
    ]
    assert pad(rows, tokenizer)["labels"].tolist() == [[1, 2], [3, IGNORED]]
