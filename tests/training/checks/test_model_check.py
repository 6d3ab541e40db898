"""Inconsistent base models, and models unfit for the task, are reported before the first trial."""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from transformers import AutoModel, BertConfig

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError, ModelError
from orchestrator.objective.protocol import Head, Objective, Splits
from orchestrator.training.checks.model_check import CheckedModel, check_model
from tests.fakes.odd_models import END_ID, EOS_ID, PIECES, odd_llama
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bart_classifier,
    tiny_bert,
    tiny_deberta,
    tiny_gpt2,
    tiny_llama,
    tiny_roberta,
    tiny_switch,
    tiny_t5,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.families.tiny_families import tiny_family

CLASSES, CAUSAL, SEQ2SEQ = TinyClassification(), TinyCausal(), TinySeq2Seq()


def check(folder: Path, objective: Objective, max_length: int = 32) -> CheckedModel:
    return check_model(Source(origin=Origin.LOCAL, name=str(folder)), objective, max_length)


def changed(build: Callable[[Path], Path], file: str, change: Callable[[dict[str, Any]], object]) -> Any:
    """Return a function to build a model and change one of its JSON files."""

    def built(folder: Path) -> Path:
        content = json.loads((build(folder) / file).read_text())
        change(content)
        (folder / file).write_text(json.dumps(content))
        return folder

    return built


def without_tokenizer(folder: Path) -> Path:
    for file in tiny_bert(folder).glob("tokenizer*"):
        file.unlink()
    return folder


def with_settings_alone(folder: Path) -> Path:
    """Settings of a tokenizer, without its vocabulary."""
    (tiny_bert(folder) / "tokenizer.json").unlink()
    return folder


def without_second_layer(folder: Path) -> Path:
    from safetensors.torch import load_file, save_file

    file = tiny_bert(folder) / "model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if "layer.1." not in name}, file)
    return folder


def without_output_layer(folder: Path) -> Path:
    from transformers import AutoModel

    AutoModel.from_pretrained(tiny_llama(folder)).save_pretrained(folder)
    return folder


def tiny_codegen(folder: Path) -> Path:
    """A family without a padding token in its configuration."""
    return tiny_family("codegen", Head.CAUSAL_LM, folder)


def tiny_t5gemma(folder: Path) -> Path:
    """Save a T5Gemma classifier with encoder and decoder."""
    return tiny_family("t5gemma", Head.SEQUENCE_CLASSIFICATION, folder)


configured = partial(changed, tiny_bert, "config.json")
OUTSIDE = "has the id {0}, and the model's embedding has {1} rows .*resize_token_embeddings"

REFUSED: dict[str, tuple[Callable[[Path], Path], Objective, str]] = {
    "unknown type": (
        configured(lambda c: c.update(model_type="bertt")),
        CLASSES,
        r"config\.json has model_type 'bertt', which transformers \S+ does not know\. Name a model of a type",
    ),
    "no type": (configured(lambda c: c.pop("model_type")), CLASSES, r"its config\.json cannot be read: Unrecognized"),
    "code of its own": (
        configured(lambda c: c.update(model_type="own", auto_map={"AutoConfig": "own.Config"})),
        CLASSES,
        "Its own code would have to run, which Loratory never does",
    ),
    "longest row without its end": (
        tiny_t5gemma,
        CLASSES,
        "t5gemma classifier reads the longest row of each batch without",
    ),
    "no such head": (tiny_t5, CAUSAL, "transformers has no t5 model for causal language modelling, which tiny-causal"),
    "an encoder that writes": (tiny_bert, CAUSAL, "a bert model reads texts from both sides and would see the answers"),
    "padding with what is looked for": (
        changed(tiny_t5, "tokenizer_config.json", lambda c: c.update(pad_token="</s>")),
        CLASSES,
        "a t5 model classifies a row by its end token, and the tokenizer gives a row none or pads with it",
    ),
    "no tokenizer": (without_tokenizer, CLASSES, "there are no tokenizer files beside the model .vocab.txt, tokeni"),
    "no vocabulary": (with_settings_alone, CLASSES, "tokenizer"),
    "no end token": (
        partial(odd_llama, special={"pad_token": "[PAD]"}, eos_token_id=None),
        CAUSAL,
        r"the tokenizer has no end token \(eos_token\), so a trial could not learn where an answer ends\. Set",
    ),
    "padding outside": (
        partial(odd_llama, special={"eos_token": "</s>", "pad_token": "<pad+>"}, pad_token_id=None),
        CLASSES,
        "the tokenizer's padding token '<pad.>' " + OUTSIDE.format(len(PIECES), len(PIECES)),
    ),
    "end outside": (
        partial(odd_llama, special={"eos_token": "<end+>", "pad_token": "[PAD]"}),
        CAUSAL,
        "the tokenizer's end token '<end.>' " + OUTSIDE.format(len(PIECES), len(PIECES)),
    ),
    "no special token": (
        changed(
            partial(odd_llama, special={}, pad_token_id=None), "tokenizer_config.json", lambda c: c.pop("unk_token")
        ),
        CLASSES,
        "has no padding token and no other special token. Set tokenizer.pad_token",
    ),
    "missing layer": (without_second_layer, CLASSES, r"the weights lack 16 tensors .*, bert\.encoder\.layer\.1\."),
    "another vocabulary": (
        configured(lambda c: c.update(vocab_size=50)),
        CLASSES,
        r"config\.json and the weights contradict each other: bert\.embeddings\.word_embeddings\.weight has the shape",
    ),
    "another vocabulary of a writer": (
        changed(tiny_llama, "config.json", lambda c: c.update(vocab_size=50)),
        CAUSAL,
        r"contradict each other: lm_head\.weight has the shape",
    ),
    "padding outside by the configuration": (
        configured(lambda c: c.update(pad_token_id=9999)),
        CLASSES,
        r"config\.json has pad_token_id 9999 and vocab_size \d+; set pad_token_id to the tokenizer's: ",
    ),
    "a value of another type": (
        changed(tiny_llama, "config.json", lambda c: c.update(pad_token_id="0")),
        CAUSAL,
        r"config\.json cannot be read: Validation error for field 'pad_token_id': .*'0'",
    ),
    "another width": (configured(lambda c: c.update(hidden_size=32)), CLASSES, "contradict each other"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_unusable_model_is_refused(name: str, tmp_path: Path) -> None:
    build, objective, message = REFUSED[name]
    folder = build(tmp_path)
    with pytest.raises(ModelError, match=message) as found:
        check(folder, objective)
    assert str(found.value).startswith(str(tmp_path))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("build", "objective"),
    [
        (tiny_bert, CLASSES),
        (bert_without_pooler, CLASSES),
        (tiny_roberta, CLASSES),
        (tiny_deberta, CLASSES),
        (tiny_gpt2, CLASSES),
        (tiny_gpt2, CAUSAL),
        (tiny_llama, CLASSES),
        (tiny_llama, CAUSAL),
        (tiny_t5, SEQ2SEQ),
        (tiny_t5, CLASSES),
        (tiny_switch, SEQ2SEQ),
        (tiny_codegen, CAUSAL),
    ],
)
def test_sound_model_passes_without_a_note(build: Callable[[Path], Path], objective: Objective, tmp_path: Path) -> None:
    assert check(build(tmp_path), objective, 128).notes == ()


NOTES: dict[str, tuple[Callable[[Path], Path], Objective, int, str]] = {
    "another padding": (
        partial(odd_llama, special={"eos_token": "</s>", "pad_token": "</s>"}, pad_token_id=0),
        CLASSES,
        32,
        f"the tokenizer pads with '</s>' ({EOS_ID}), the configuration has pad_token_id 0. Training, evaluation",
    ),
    "another end": (
        partial(odd_llama, special={"eos_token": "<end>", "pad_token": "[PAD]"}, eos_token_id=EOS_ID),
        CAUSAL,
        32,
        f"the tokenizer ends a text with '<end>' ({END_ID}), the configuration with '</s>' ({EOS_ID}). Trials learn",
    ),
    "an end that is no token": (
        changed(tiny_llama, "config.json", lambda c: c.update(eos_token_id=9999)),
        CAUSAL,
        32,
        f"ends a text with '</s>' ({EOS_ID}), the configuration with 9999, which the tokenizer does not have. Trials",
    ),
    "no layer that writes": (
        without_output_layer,
        CAUSAL,
        32,
        "the weights lack the output layer (lm_head.weight); it is initialised at random and trained in full",
    ),
    "fewer layers": (
        configured(lambda c: c.update(num_hidden_layers=1)),
        CLASSES,
        32,
        "the weights hold 16 tensors unknown to the model of config.json, bert.encoder.layer.1.",
    ),
    "longer than the tokenizer says": (
        changed(tiny_t5, "tokenizer_config.json", lambda c: c.update(model_max_length=64)),
        SEQ2SEQ,
        65,
        "data.max_length is 65, its tokenizer says that the model was trained on texts of at most 64 tokens",
    ),
}


@pytest.mark.parametrize("name", sorted(NOTES))
def test_difference_gives_a_note(name: str, tmp_path: Path) -> None:
    build, objective, max_length, message = NOTES[name]
    (note,) = check(build(tmp_path), objective, max_length).notes
    assert message in note


def test_end_token_of_a_classifier_is_irrelevant(tmp_path: Path) -> None:
    special = {"eos_token": "<end>", "pad_token": "[PAD]"}
    assert check(odd_llama(tmp_path, special, eos_token_id=EOS_ID), CLASSES).notes == ()


def splits_of(*texts: str) -> Splits:
    rows = datasets.Dataset.from_dict({"text": list(texts), "label": [0] * len(texts)})
    return Splits(train=rows, validation=rows.select([]), test=rows.select([]), shift={})


def test_unknown_tokens_are_refused_or_noted(tmp_path: Path) -> None:
    checked = check(tiny_bert(tmp_path), CLASSES)
    assert checked.check_rows(splits_of("a good film", "a bad film"), 32) == ()
    (note,) = checked.check_rows(splits_of("good film 映画", "bad film 最高"), 32)
    assert "% of the tokens of the texts are unknown to the tokenizer ([UNK])" in note
    with pytest.raises(ModelError, match=r"the tokenizer knows no token of the texts; every word becomes \[UNK\]"):
        checked.check_rows(splits_of("映画", "最高"), 32)


def test_added_tokens_without_embedding_in_texts_are_refused(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path))
    tokenizer.add_tokens(["[PRODUCT]"])
    tokenizer.save_pretrained(tmp_path)
    checked = check(tmp_path, CLASSES)
    assert checked.check_rows(splits_of("a good film"), 32) == ()
    with pytest.raises(ModelError, match=r"the tokenizer has \d+ tokens, the model's embedding has .* beyond them"):
        checked.check_rows(splits_of("a good film", "a bad [PRODUCT]"), 32)


def test_texts_with_the_end_token_are_refused(tmp_path: Path) -> None:
    checked = check(tiny_bart_classifier(tmp_path), CLASSES)
    assert checked.check_rows(splits_of("a good film"), 32) == ()
    message = r"by its end token '</s>', and 1 of the 2 texts of train contain it: 'a <s>bad</s> film'\. Remove it"
    with pytest.raises(DataError, match=message):
        checked.check_rows(splits_of("a good film", "a <s>bad</s> film"), 32)
    plain = splits_of("a good film", "a bad film")
    pairs = replace(plain, train=plain.train.add_column("text_pair", ["fine", "a <s>bad</s> film"]))
    with pytest.raises(DataError, match=r"1 of the 2 texts of train contain it"):
        checked.check_rows(pairs, 32)


def test_texts_beyond_model_max_length_print_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    logger = logging.getLogger("transformers.tokenization_utils_base")
    monkeypatch.setattr(logger, "handle", lambda record: logged.append(record.getMessage()))
    build = changed(tiny_bert, "tokenizer_config.json", lambda c: c.update(model_max_length=8))
    check(build(tmp_path), CLASSES, 16).check_rows(splits_of("a good film " * 9), 16)
    assert logged == []


def test_building_changes_the_default_format_of_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    build, seen = torch.nn.Linear.__init__, set[torch.dtype]()

    def look(*arguments: Any, **named: Any) -> None:
        thread = threading.Thread(target=lambda: seen.add(torch.get_default_dtype()))
        thread.start()
        thread.join()
        build(*arguments, **named)

    monkeypatch.setattr(torch.nn.Linear, "__init__", look)
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    AutoModel.from_config(config, dtype=torch.bfloat16)
    assert seen == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_weights_of_quantised_model_are_counted(tmp_path: Path) -> None:
    plain = check(tiny_bert(tmp_path / "plain"), CLASSES)
    assert plain.structure is not None
    assert plain.weights == sum(parameter.numel() for parameter in plain.structure.model.parameters())

    def quantise(config: dict[str, Any]) -> None:
        config["quantization_config"] = {"quant_method": "gptq", "bits": 4}

    quantised = check(changed(tiny_bert, "config.json", quantise)(tmp_path / "quantised"), CLASSES)
    assert (quantised.weights, quantised.structure) == (plain.weights, None)
