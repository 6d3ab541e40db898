"""The default limit of an answer follows from the training targets."""

from pathlib import Path

import datasets
import pytest
from transformers import AutoTokenizer

from orchestrator.objective.protocol import Objective
from orchestrator.objective.target_length import default_new_tokens, writes
from tests.fakes.tiny_models import tiny_llama, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq


@pytest.mark.parametrize(("objective", "write"), [(TinyCausal(), tiny_llama), (TinySeq2Seq(), tiny_t5)])
def test_limit_is_99th_percentile_with_end(objective: Objective, write: object, tmp_path: Path) -> None:
    assert callable(write)
    tokenizer = AutoTokenizer.from_pretrained(write(tmp_path / "model"))
    headlines = ["good film"] * 198 + ["film " * 30] * 2
    rows = datasets.Dataset.from_dict({"text": ["the film was good"] * 200, "headline": headlines})
    assert default_new_tokens(objective, rows, tokenizer, 64) == 3
    assert default_new_tokens(objective, rows.select(range(190, 200)), tokenizer, 64) == 31


def test_classifier_writes_nothing() -> None:
    assert not writes(TinyClassification())
    assert writes(TinyCausal())
