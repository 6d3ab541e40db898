"""Saved adapters hold every trained weight; merging restores the base model."""

import json
from pathlib import Path

import pytest
import torch
from peft import get_peft_model_state_dict

from orchestrator.core.data import Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.model.adapters import adapt, merged, save_adapter
from orchestrator.training.model.base_model import load_base
from tests.fakes.tiny_models import bert_without_pooler, tiny_bert, tiny_gpt2, tiny_llama, tiny_roberta, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq


@pytest.fixture
def bert(tmp_path: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))


@pytest.mark.parametrize("write", [tiny_bert, tiny_roberta, bert_without_pooler, tiny_llama, tiny_gpt2, tiny_t5])
def test_adapter_holds_trained_and_missing_weights(write: object, tmp_path: Path) -> None:
    assert callable(write)
    source = Source(origin=Origin.LOCAL, name=str(write(tmp_path / "model")))
    writers: dict[object, Objective] = {tiny_llama: TinyCausal(), tiny_gpt2: TinyCausal(), tiny_t5: TinySeq2Seq()}
    objective = writers.get(write, TinyClassification())
    base = load_base(source, objective, "cpu")
    model = adapt(base, TrialSettings(rank=2), objective.head).model
    saved = get_peft_model_state_dict(model, save_embedding_layers=False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(value.numel() for value in saved.values()) == sum(parameter.numel() for parameter in trained)
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    for module in base.fresh_modules:
        assert any(module in name and "lora_" not in name for name in saved), module
    if write is bert_without_pooler:
        assert base.fresh_modules == ("bert.pooler.dense", "classifier")
        assert not any("pooler" in name and "lora_" in name for name in saved)
    if write not in writers:
        assert model.config.id2label == {0: "bad", 1: "good"}
        assert any("pooler" in name and "lora_A" in name for name in saved) == (write is tiny_bert)


def test_merging_restores_the_base_exactly(bert: Source) -> None:
    torch.manual_seed(0)
    base = load_base(bert, TinyClassification(), "cpu")
    model = adapt(base, TrialSettings(init="gaussian"), Head.SEQUENCE_CLASSIFICATION).model.eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    ids = torch.arange(5, 25)[None]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = model(input_ids=ids).logits
    with merged(model):
        assert torch.allclose(model(input_ids=ids).logits, plain, atol=1e-5)
        assert not torch.equal(
            model.state_dict()["base_model.model.bert.pooler.dense.base_layer.weight"],
            before["base_model.model.bert.pooler.dense.base_layer.weight"],
        )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(input_ids=ids).logits, plain)


def test_merging_an_embedding_keeps_the_tied_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = load_base(Source(origin=Origin.LOCAL, name=str(tiny_gpt2(tmp_path))), TinyCausal(), "cpu")
    model = adapt(base, TrialSettings(target_modules="wte"), Head.CAUSAL_LM).model.eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    ids, head = torch.arange(5, 25)[None], model.get_output_embeddings()
    plain = model(input_ids=ids).logits
    with merged(model):
        assert torch.allclose(model(input_ids=ids).logits, plain, atol=1e-4)
    assert model.get_parameter("base_model.model.transformer.wte.base_layer.weight") is head.weight


def test_the_config_names_the_base(bert: Source, tmp_path: Path) -> None:
    for init in ("default", "pissa"):
        found = adapt(
            load_base(bert, TinyClassification(), "cpu"), TrialSettings(init=init), Head.SEQUENCE_CLASSIFICATION
        )
        save_adapter(found, tmp_path / init)
        config = json.loads((tmp_path / init / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == bert.name
        assert config["inference_mode"] is True
        assert config["init_lora_weights"] is True
        assert not list((tmp_path / init).glob("*.bin"))
