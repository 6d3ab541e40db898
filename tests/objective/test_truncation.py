"""Rows truncated by ``encode`` are counted exactly, most of them without tokenisation."""

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
from transformers import AutoTokenizer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import AssetError, DataError
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.truncation import truncated
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq

TEXTS = ["good", "the film was good " * 3, "the film was bad", "good," * 40, "film " * 100, "映画" * 30, "a" * 5000, ""]


def splits_of(rows: datasets.Dataset) -> Splits:
    return Splits(train=rows, validation=rows.select([0, 2]), test=rows.select([4]), shift={"far": rows.select([])})


@pytest.mark.parametrize(
    ("objective", "make"), [(TinyClassification(), tiny_bert), (TinyCausal(), tiny_llama), (TinySeq2Seq(), tiny_t5)]
)
@pytest.mark.parametrize("max_length", [6, 12, 20, 64])
def test_counts_equal_encoding(
    tmp_path: Path, objective: Objective, make: Callable[[Path], Path], max_length: int
) -> None:
    folder = make(tmp_path / "model")
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [0] * 8, "headline": ["good film"] * 7 + ["bad " * 20]})
    counts = truncated(objective, splits_of(rows), Source(origin=Origin.LOCAL, name=str(folder)), max_length)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole, cut = (objective.encode(rows, tokenizer, limit) for limit in (100_000, max_length))
    expected = [full != short for full, short in zip(whole, cut, strict=True)]
    assert counts == {
        "train": sum(expected),
        "validation": expected[0] + expected[2],
        "test": int(expected[4]),
        "shift/far": 0,
    }
    assert counts["train"] >= 1


def test_a_prompt_too_long_is_refused(tmp_path: Path) -> None:
    source = Source(origin=Origin.LOCAL, name=str(tiny_t5(tmp_path / "model")))
    rows = datasets.Dataset.from_dict({"text": TEXTS, "headline": ["good"] * 8})
    with pytest.raises(DataError, match=r"the prompt of tiny-seq2seq takes .* tokens by itself .*, got 2"):
        truncated(TinySeq2Seq(), splits_of(rows), source, 2)


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path / "model")
    (folder / "tokenizer.json").write_text("{}")
    rows = datasets.Dataset.from_dict({"text": TEXTS, "label": [0] * 8})
    with pytest.raises(AssetError, match=r"model .*model: its tokenizer cannot be loaded: "):
        truncated(TinyClassification(), splits_of(rows), Source(origin=Origin.LOCAL, name=str(folder)), 12)


def test_short_rows_need_no_tokenizer() -> None:
    absent = Source(origin=Origin.LOCAL, name="/no/such/model")
    rows = datasets.Dataset.from_dict({"text": ["good film"] * 4, "label": [0] * 4})
    splits = Splits(train=rows, validation=rows, test=rows, shift={})
    assert truncated(TinyClassification(), splits, absent, 64) == {"train": 0, "validation": 0, "test": 0}


def test_very_many_rows_are_estimated(tmp_path: Path) -> None:
    objective = TinyClassification()
    splits = objective.splits(DataPlan(source=objective.default_source, train=400, validation=1, test=1))
    source = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "model")))
    estimate = truncated(objective, splits, source, 12, sample_size=50)["train"]
    assert estimate == pytest.approx(truncated(objective, splits, source, 12)["train"], abs=60)
