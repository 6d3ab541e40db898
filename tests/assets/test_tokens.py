"""Padding and end tokens, if the tokenizer and the model's files disagree or have none."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from orchestrator.assets.tokens import end_tokens, load_tokenizer, reads_last_position, target_end, use_tokens_of
from orchestrator.core.data import Origin, Source
from tests.fakes.odd_models import END_ID, EOS_ID, odd_llama, tiny_xlnet
from tests.fakes.tiny_models import tiny_bert, tiny_t5


def source(folder: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(folder))


@pytest.mark.parametrize(
    ("special", "configured", "padding"),
    [
        ({"eos_token": "</s>", "pad_token": "<end>"}, 0, "<end>"),
        ({"eos_token": "</s>", "bos_token": "<s>"}, None, "</s>"),
        ({"eos_token": "</s>", "bos_token": "<s>"}, 5, "<s>"),  # padding token of the configuration
        ({"eos_token": "</s>", "bos_token": "<s>"}, 7, "</s>"),  # not a special token, perhaps a word
        ({"eos_token": "</s>"}, -1, "</s>"),
        ({}, None, "[UNK]"),
    ],
)
def test_padding_token_is_a_special_token(
    special: Mapping[str, str], configured: int | None, padding: str, tmp_path: Path
) -> None:
    folder = odd_llama(tmp_path, special, pad_token_id=None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": configured}))
    tokenizer = load_tokenizer(source(folder))
    assert tokenizer.pad_token == padding
    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(folder))
    use_tokens_of(model, tokenizer, classifies=True)
    assert model.config.pad_token_id == tokenizer.pad_token_id


def test_roberta_keeps_its_padding_index(tmp_path: Path) -> None:
    from tests.fakes.tiny_models import tiny_roberta

    folder = tiny_roberta(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    before = model.roberta.embeddings.position_embeddings.padding_idx
    tokenizer = load_tokenizer(source(folder))
    tokenizer.pad_token = "[UNK]"
    use_tokens_of(model, tokenizer, classifies=True)
    assert model.config.pad_token_id == tokenizer.unk_token_id
    assert model.roberta.embeddings.position_embeddings.padding_idx == before


def test_encoder_decoder_classifier_uses_tokenizer_end(tmp_path: Path) -> None:
    folder = tiny_t5(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.config.eos_token_id = 3
    use_tokens_of(model, load_tokenizer(source(folder)), classifies=True)
    assert model.config.eos_token_id == EOS_ID


def test_last_position_readers_pad_left(tmp_path: Path) -> None:
    assert load_tokenizer(source(tiny_xlnet(tmp_path / "xlnet"))).padding_side == "left"
    config = AutoConfig.from_pretrained(tmp_path / "xlnet")
    config.summary_type = "first"
    assert not reads_last_position(config)
    folder = tiny_bert(tmp_path / "bert")
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"padding_side": "left"}))
    assert load_tokenizer(source(folder)).padding_side == "right"
    assert load_tokenizer(source(folder), classifies=False).padding_side == "left"  # needed for generation


@pytest.mark.parametrize(
    ("configured", "stored", "ends"),
    [
        (EOS_ID, None, (END_ID, EOS_ID)),
        (END_ID, None, (END_ID,)),
        ([EOS_ID, 3], {"eos_token_id": [3, END_ID]}, (END_ID, 3, EOS_ID)),
        (None, {"eos_token_id": 3}, (END_ID, 3)),
        (None, {}, (END_ID,)),
    ],
)
def test_generation_ends_at_all_end_tokens(configured: Any, stored: Any, ends: tuple[int, ...], tmp_path: Path) -> None:
    folder = odd_llama(tmp_path, {"eos_token": "<end>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": configured}))
    (folder / "generation_config.json").unlink()
    if stored is not None:
        (folder / "generation_config.json").write_text(json.dumps(stored))
    assert end_tokens(source(folder), load_tokenizer(source(folder))) == ends


def test_target_ends_with_separator_without_end_token(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path))
    assert tokenizer.eos_token_id is None
    assert target_end(tokenizer) == tokenizer.sep_token_id
