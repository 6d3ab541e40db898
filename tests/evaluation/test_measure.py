"""Evaluation is independent of batches and restores the model's mode."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.gap import gaps
from orchestrator.evaluation.measure import batches, measure
from orchestrator.objective.protocol import Objective
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq


def loaded(kind: str, folder: Path) -> tuple[Any, Any, Objective, list[dict[str, Any]]]:
    import transformers

    kinds: dict[str, tuple[Callable[[Path], Path], Objective, str]] = {
        "bert": (tiny_bert, TinyClassification(), "AutoModelForSequenceClassification"),
        "llama": (tiny_llama, TinyCausal(), "AutoModelForCausalLM"),
        "t5": (tiny_t5, TinySeq2Seq(), "AutoModelForSeq2SeqLM"),
    }
    write, objective, auto = kinds[kind]
    path = write(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    source = Source(origin=Origin.LOCAL, name="made up")
    rows = objective.splits(DataPlan(source=source, validation=23, test=2)).validation
    model = getattr(transformers, auto).from_pretrained(path)
    return model, tokenizer, objective, objective.encode(rows, tokenizer, 32)


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_result_is_independent_of_batches(kind: str, tmp_path: Path) -> None:
    model, tokenizer, objective, examples = loaded(kind, tmp_path)
    model.train()
    one_by_one = measure(model, objective, examples, tokenizer, batch_tokens=1).metrics
    at_once = measure(model, objective, examples, tokenizer, batch_tokens=10**6).metrics
    assert at_once == pytest.approx(one_by_one, rel=1e-5)
    assert measure(model, objective, examples, tokenizer).metrics == pytest.approx(one_by_one, rel=1e-5)
    assert set(at_once) == set(objective.metrics)
    assert model.training
    # A token-weighted mean: rows of a language model count by their tokens.
    per_row = [measure(model, objective, [example], tokenizer).metrics["loss"] for example in examples]
    units = [1 if kind == "bert" else sum(label != -100 for label in example["labels"]) for example in examples]
    expected = sum(loss * n for loss, n in zip(per_row, units, strict=True)) / sum(units)
    assert one_by_one["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_rows_have_losses_units_and_classes(kind: str, tmp_path: Path) -> None:
    model, tokenizer, objective, examples = loaded(kind, tmp_path)
    measured = measure(model, objective, examples, tokenizer, batch_tokens=40)
    rows = measured.rows
    for at in (0, 7, len(examples) - 1):
        alone = measure(model, objective, [examples[at]], tokenizer)
        assert rows.losses[at] == pytest.approx(alone.rows.losses[0], rel=1e-5)
        assert rows.units[at] == alone.rows.units[0]
    assert measured.metrics["loss"] == pytest.approx(sum(rows.losses) / sum(rows.units))
    if kind == "bert":
        assert rows.references == tuple(example["labels"] for example in examples)
        right = [a == b for a, b in zip(rows.predictions, rows.references, strict=True)]
        assert sum(right) / len(right) == measured.metrics["accuracy"]
    else:
        assert (rows.predictions, rows.references) == ((), ())


def test_training_mode_is_restored_after_error(tmp_path: Path) -> None:
    model, tokenizer, objective, examples = loaded("bert", tmp_path)
    model.train()
    with pytest.raises(IndexError):
        measure(model, objective, [{"input_ids": [10**6], "labels": 0}], tokenizer)
    assert model.training
    model.eval()
    measure(model, objective, examples, tokenizer)
    assert not model.training


def test_predictions_keep_row_order(tmp_path: Path) -> None:
    class Recording(TinyClassification):
        def measure(self, pairs: Any) -> dict[str, float]:
            self.pairs = list(pairs)
            return {}

    model, tokenizer, _, examples = loaded("bert", tmp_path)
    objective = Recording()
    measure(model, objective, examples, tokenizer, batch_tokens=40)
    assert [reference for _, reference in objective.pairs] == [example["labels"] for example in examples]


def test_no_rows_give_no_metrics(tmp_path: Path) -> None:
    model, tokenizer, objective, _ = loaded("bert", tmp_path)
    nothing = measure(model, objective, [], tokenizer)
    assert (nothing.metrics, nothing.rows) == ({}, RowMeasures(losses=(), units=()))


def test_broken_model_gives_nan(tmp_path: Path) -> None:
    model, tokenizer, objective, examples = loaded("bert", tmp_path)
    with torch.no_grad():
        model.classifier.bias.fill_(math.nan)
    assert math.isnan(measure(model, objective, examples, tokenizer).metrics["loss"])


@pytest.mark.parametrize("budget", [1, 7, 40, 1000])
def test_batches_hold_all_rows_within_budget(budget: int) -> None:
    lengths = [3, 9, 1, 9, 2, 30, 4, 4, 4, 5]
    result = [*batches(lengths, budget)]
    assert sorted(row for batch in result for row in batch) == list(range(len(lengths)))
    for batch in result:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    flat = [lengths[row] for batch in result for row in batch]
    assert flat == sorted(flat)


@pytest.mark.parametrize(
    ("validation", "train", "expected"),
    [
        ({"loss": 0.5, "accuracy": 0.8}, {"loss": 0.25, "accuracy": 0.9}, {"gap/loss": 0.25, "gap/accuracy": 0.1}),
        ({"loss": 0.5, "perplexity": 2.0}, {"loss": 0.75, "perplexity": 3.0}, {"gap/loss": -0.25}),
        ({}, {}, {}),
    ],
)
def test_gaps(validation: Mapping[str, float], train: Mapping[str, float], expected: Mapping[str, float]) -> None:
    assert gaps(validation, train) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_detailed_rows_have_tokens_and_logits(kind: str, tmp_path: Path) -> None:
    model, tokenizer, objective, examples = loaded(kind, tmp_path)
    detailed = measure(model, objective, examples, tokenizer, batch_tokens=40, detailed=True)
    plain = measure(model, objective, examples, tokenizer, batch_tokens=40)
    assert detailed.metrics == plain.metrics
    assert replace(detailed.rows, tokens=(), logits=()) == plain.rows
    assert detailed.rows.tokens == tuple(len(example["input_ids"]) for example in examples)
    if kind == "llama":
        assert detailed.rows.logits == ()
        return
    logits = torch.tensor(detailed.rows.logits)
    assert logits.argmax(dim=1).tolist() == [*detailed.rows.predictions]
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(detailed.rows.references), reduction="none")
    assert losses.tolist() == pytest.approx([*detailed.rows.losses], abs=2e-4)
