"""A staged adapter holds the tokenizer and the end tokens used in training."""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig

from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.tracking.logged_models.tokenizer_files import difference, stage_tokenizer
from tests.fakes.odd_models import END_ID, EOS_ID, odd_llama, tiny_bertweet, tiny_xlnet
from tests.fakes.tiny_models import VOCAB, tiny_bert, tiny_gpt2, tiny_t5
from tests.tracking.cards import made_card, readme_scope

TEXTS = ("good film", "the bad, bad film!", "a")


@pytest.mark.parametrize("build", [tiny_bert, tiny_bertweet, tiny_xlnet, tiny_t5, tiny_gpt2])
def test_staged_tokenizer_gives_the_base_models_tokens(build: Callable[[Path], Path], tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    own = AutoTokenizer.from_pretrained(base)
    side = stage_tokenizer(str(base), None, tmp_path / "staged", classifies=True)
    loaded = AutoTokenizer.from_pretrained(tmp_path / "staged")
    assert [loaded(text)["input_ids"] for text in TEXTS] == [own(text)["input_ids"] for text in TEXTS]
    assert loaded.padding_side == side == ("left" if build is tiny_xlnet else "right")


def test_staged_tokenizer_keeps_every_file_of_its_vocabulary(tmp_path: Path) -> None:
    base = tiny_bertweet(tmp_path / "base")
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=True)
    for name in ("vocab.txt", "bpe.codes"):
        assert (tmp_path / "staged" / name).read_text() == (base / name).read_text()


def test_staged_tokenizer_of_gpt2_gives_no_token_types(tmp_path: Path) -> None:
    base = tiny_gpt2(tmp_path / "base")
    file = base / "tokenizer_config.json"
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_input_names": inputs}))
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=True)
    assert [*AutoTokenizer.from_pretrained(tmp_path / "staged")("a film")] == ["input_ids", "attention_mask"]


def test_staged_tokenizer_keeps_the_padding_token(tmp_path: Path) -> None:
    base = odd_llama(tmp_path / "base", {"eos_token": "</s>"}, pad_token_id=None)
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=True)
    assert AutoTokenizer.from_pretrained(tmp_path / "staged").pad_token_id == EOS_ID


def test_staging_short_models_tokenizer_prints_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_bert(tmp_path / "base")
    file = base / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": 8}))
    said: list[str] = []
    logger = logging.getLogger("transformers.tokenization_utils_base")
    monkeypatch.setattr(logger, "handle", lambda record: said.append(record.getMessage()))
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=True)
    assert said == []


def test_different_tokenizer_is_detected(tmp_path: Path) -> None:
    own = AutoTokenizer.from_pretrained(tiny_bert(tmp_path / "own"))
    tiny_bert(tmp_path / "other", vocab=VOCAB[::-1])
    assert difference(own, tmp_path / "own") is None
    assert str(difference(own, tmp_path / "other")).startswith("it gives other tokens for ")
    for file in (tmp_path / "other").iterdir():
        file.unlink()
    assert "Error" in str(difference(own, tmp_path / "other"))


def stored_ends(base: Path, **generation: Any) -> Path:
    GenerationConfig(**generation).save_pretrained(base)
    return base


@pytest.mark.parametrize(
    ("build", "ends"),
    [
        (
            partial(odd_llama, special={"eos_token": "<end>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID),
            [END_ID, EOS_ID],
        ),
        (partial(odd_llama, special={"eos_token": "</s>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID), EOS_ID),
        (
            lambda folder: stored_ends(
                odd_llama(folder, {"eos_token": "</s>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID),
                eos_token_id=[END_ID, 3],
                max_length=50,
            ),
            [EOS_ID, END_ID, 3],
        ),
    ],
)
def test_every_end_token_is_stored_with_the_adapter(build: Callable[[Path], Path], ends: Any, tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=False)
    stored = GenerationConfig.from_pretrained(tmp_path / "staged")
    assert (stored.eos_token_id, stored.pad_token_id) == (ends, 0)


def test_invalid_generation_config_keeps_its_tokens(tmp_path: Path) -> None:
    base = odd_llama(tmp_path / "base", {"eos_token": "</s>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID)
    (base / "generation_config.json").write_text(
        json.dumps({"do_sample": False, "temperature": 0.6, "eos_token_id": 3})
    )
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=False)
    assert GenerationConfig.from_pretrained(tmp_path / "staged").eos_token_id == [EOS_ID, 3]


def test_decoding_settings_of_the_base_are_left_out(tmp_path: Path) -> None:
    base = odd_llama(tmp_path / "base", {"eos_token": "</s>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID)
    GenerationConfig(num_beams=4, repetition_penalty=1.3, eos_token_id=EOS_ID).save_pretrained(base)
    stage_tokenizer(str(base), None, tmp_path / "staged", classifies=False)
    stored = GenerationConfig.from_pretrained(tmp_path / "staged").to_diff_dict()
    assert stored["eos_token_id"] == EOS_ID
    assert {"num_beams", "repetition_penalty"}.isdisjoint(stored)


def writes(base: Path, *tokens: int) -> None:
    """Make a language model generate these tokens in order for any input, then repeat the last one."""
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    weights = {name: torch.zeros_like(value) for name, value in weights.items()}
    embedding.zero_()
    weights["model.embed_tokens.weight"] = embedding
    weights["model.norm.weight"] = torch.ones_like(weights["model.norm.weight"])
    embedding[:, 0] = 1.0  # the last token of the prompt
    for place, token in enumerate(tokens[:-1], 1):
        embedding[token] = 0.0
        embedding[token, place] = 1.0
    head = weights["lm_head.weight"]
    for place, token in enumerate(tokens):
        head[token, place] = 1.0
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(("end", "rest"), [(END_ID, "game"), (EOS_ID, "game")])
def test_generation_ends_at_either_end_token(end: int, rest: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    special = {"eos_token": "<end>", "pad_token": "[PAD]"}
    base = odd_llama(tmp_path / "base", special, eos_token_id=EOS_ID)
    ids = AutoTokenizer.from_pretrained(base).get_vocab()
    writes(base, ids["good"], end, ids[rest])
    model = AutoModelForCausalLM.from_pretrained(base)
    get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2)).save_pretrained(str(tmp_path / "adapter"))
    card = made_card(base, head="causal_lm", labels=(), prompt="{text} headline")
    folder = stage_adapter(tmp_path / "adapter", card, tmp_path / "staged")
    answers = AdapterRunner(folder).generate(["the film", "the very long article was a match"])
    assert answers == [("good", False), ("good", False)]
    scope = readme_scope(folder)
    prompt = scope["tokenizer"](scope["prompt"], return_tensors="pt")
    written = scope["model"].generate(**prompt, max_new_tokens=9)[0, prompt["input_ids"].shape[1] :]
    assert scope["tokenizer"].convert_ids_to_tokens(written.tolist()) == [
        "good",
        {END_ID: "<end>", EOS_ID: "</s>"}[end],
    ]
