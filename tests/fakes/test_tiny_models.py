"""The tiny models load like downloaded models."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_llama, tiny_t5


def test_tiny_encoder_loads_and_classifies(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tiny_bert(tmp_path, num_labels=3)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(["A good film", "zebra bad"], padding=True, return_tensors="pt")
    assert tokenizer.unk_token_id not in batch["input_ids"].flatten().tolist()
    assert batch["input_ids"][0, 0] == tokenizer.cls_token_id
    logits = AutoModelForSequenceClassification.from_pretrained(folder)(**batch).logits
    assert logits.shape == (2, 3)


@pytest.mark.parametrize("build", [tiny_llama, tiny_gpt2])
def test_tiny_language_models_load_and_predict(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = build(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(["the plot was fine"], return_tensors="pt")
    logits = AutoModelForCausalLM.from_pretrained(folder)(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).logits
    assert logits.shape == (1, 4, len(tokenizer))
    assert tokenizer.eos_token_id is not None


def test_tiny_seq2seq_model_loads_and_generates(tmp_path: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = tiny_t5(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(["the plot was fine", "bad"], padding=True, return_tensors="pt")
    assert batch["input_ids"][0, -1] == tokenizer.eos_token_id
    written = AutoModelForSeq2SeqLM.from_pretrained(folder).generate(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=3
    )
    assert written.shape == (2, 4)
