"""Unpackable models are detected by a trial run."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import LoratoryError
from orchestrator.objective.protocol import Objective
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.layout.blocks import batch_layout
from orchestrator.training.packed.limits.fitness import reason_not_to_pack, try_formats
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bert,
    tiny_deberta,
    tiny_gpt2,
    tiny_llama,
    tiny_roberta,
    tiny_starcoder2,
    tiny_switch,
    tiny_t5,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.packed.packs import MADE_UP

DATA = DataPlan(source=MADE_UP, train=40, validation=20, test=12, train_eval=10)


@pytest.mark.parametrize(
    ("build", "objective", "reason"),
    [
        (tiny_bert, TinyClassification(), None),
        (bert_without_pooler, TinyClassification(), None),
        (tiny_roberta, TinyClassification(), None),
        (tiny_gpt2, TinyCausal(), None),
        (tiny_gpt2, TinyClassification(), None),
        (tiny_llama, TinyCausal(), None),
        (tiny_llama, TinyClassification(), None),
        (tiny_t5, TinySeq2Seq(), None),
        (tiny_t5, TinyClassification(), "ValueError: the decoder is given no mask"),
        (tiny_starcoder2, TinyCausal(), "in training its code draws random numbers"),
        (tiny_deberta, TinyClassification(), "its packed logits differ"),
        (tiny_switch, TinySeq2Seq(), "its experts take a limited number of a row's tokens"),
    ],
)
def test_models_are_tried(
    build: Callable[[Path], Path], objective: Objective, reason: str | None, tmp_path: Path, device: str
) -> None:
    source = Source(origin=Origin.LOCAL, name=str(build(tmp_path)))
    tokenizer = load_tokenizer(source)
    rows = TaskData(objective, DATA, tokenizer).split("train", 32)
    found = reason_not_to_pack(source, objective, device, tokenizer, rows)
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_large_base_is_tried_in_bfloat16(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[torch.dtype] = []

    def attempt(dtype: torch.dtype) -> str | None:
        tried.append(dtype)
        if dtype is torch.float32:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "its logits differ"

    assert try_formats(attempt, "cpu") == "its logits differ"
    assert tried == [torch.float32, torch.bfloat16]
    assert "no memory to try the base model in torch.float32" in caplog.text


def test_base_too_large_in_any_format_is_error() -> None:
    def attempt(dtype: torch.dtype) -> str | None:
        raise MemoryError(f"no room for {dtype}")

    with pytest.raises(LoratoryError, match=r"no memory for only the base model: no room for torch\.bfloat16"):
        try_formats(attempt, "cpu")

    def broken(dtype: torch.dtype) -> str | None:
        raise RuntimeError(f"a file is missing, whatever {dtype} is")

    with pytest.raises(RuntimeError, match="a file is missing"):
        try_formats(broken, "cpu")


def test_layer_with_some_tokens_cannot_pack() -> None:
    layout = batch_layout(torch.tensor([[1, 1, 1], [1, 0, 0]]), {0: 1, 1: 1}, 2, torch.float32)
    for count in (2, 4, 6):  # rows, tokens, rows padded to the longest
        layout.require_all(count)
    with pytest.raises(CannotPackError, match="3 vectors are neither its 4 tokens nor its 2 rows"):
        layout.require_all(3)
