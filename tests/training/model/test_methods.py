"""Methods other than LoRA: the engines' contract, and their settings, training, merging and saving."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import PeftModel, PeftType
from peft.mapping import PEFT_TYPE_TO_PREFIX_MAPPING

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import FULL, HEAD, METHODS, takers
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.model.adapters import MERGED_TO_MEASURE, Adapted, adapt, merged, save_adapter
from orchestrator.training.model.base_model import Base, load_base
from orchestrator.training.model.peft_configs import peft_config
from orchestrator.training.optimiser import build_optimiser
from tests import needs
from tests.contracts.engine_contract import MethodContract
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bert,
    tiny_gpt2,
    tiny_llama,
    tiny_roberta,
    tiny_switch,
    tiny_t5,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.solo.test_engine import Solo

MODELS: list[tuple[Callable[[Path], Path], Objective]] = [
    (tiny_bert, TinyClassification()),
    (bert_without_pooler, TinyClassification()),
    (tiny_roberta, TinyClassification()),
    (tiny_llama, TinyCausal()),
    (tiny_gpt2, TinyCausal()),
    (tiny_t5, TinySeq2Seq()),
]
OWN = {"rank": 6, "alpha": 5.0, "rslora": True, "dora": True, "dropout": 0.2, "init": "gaussian"}
"""A value other than the default for each setting in a PEFT configuration."""


class Method(Solo, MethodContract):
    decomposes = False


class TestIA3(Method):
    method = "ia3"
    objective = TinyClassification()
    targets = "key,value,output.dense"

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder)


class TestIA3OnGpt2(Method):
    """Layers with transposed weights, and no trainable head."""

    method = "ia3"
    objective = TinyCausal()
    targets = "c_attn,mlp.c_proj"

    def write_model(self, folder: Path) -> Path:
        return tiny_gpt2(folder)


class TestLoHa(Method):
    method = "loha"
    objective = TinyClassification()
    targets = "query,dense"

    def write_model(self, folder: Path) -> Path:
        return tiny_roberta(folder)


class TestLoKr(Method):
    method = "lokr"
    objective = TinySeq2Seq()
    targets = "q,v,wo"

    def write_model(self, folder: Path) -> Path:
        return tiny_t5(folder)


class TestVeRA(Method):
    method = "vera"
    objective = TinyClassification()
    targets = "query"

    def write_model(self, folder: Path) -> Path:
        return bert_without_pooler(folder)


@needs.bitsandbytes
class TestIA3In4Bits(Method):
    method = "ia3"
    objective = TinyClassification()
    targets = "key,value,output.dense"
    quantisation = Quantisation.NF4

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder, width=64)


@needs.bitsandbytes
class TestVeRAIn4Bits(Method):
    method = "vera"
    objective = TinyClassification()
    targets = "query,value"
    quantisation = Quantisation.NF4

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder, width=64)


def load(folder: Path, objective: Objective) -> Base:
    return load_base(Source(origin=Origin.LOCAL, name=str(folder)), objective, "cpu")


def learned(base: Base, settings: TrialSettings, head: Head) -> Adapted:
    """Return an adapter with all tensors changed from their start, the head too."""
    found = adapt(base, settings, head)
    found.model.eval()
    with torch.no_grad():
        for parameter in found.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return found


def logits(model: torch.nn.Module, objective: Objective) -> torch.Tensor:
    ids = torch.arange(5, 25)[None]
    given = {"decoder_input_ids": ids} if objective.head is Head.SEQ2SEQ_LM else {}
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, **given).logits
    return found


@pytest.mark.parametrize("method", MERGED_TO_MEASURE)
@pytest.mark.parametrize(("write", "objective"), MODELS)
def test_saved_adapter_restores_all_trained_weights(
    method: str, write: Callable[[Path], Path], objective: Objective, tmp_path: Path
) -> None:
    if write is tiny_gpt2 and method in {"loha", "lokr"}:
        pytest.skip("these are for layers of torch's own; see the test below")
    folder = write(tmp_path / "model")
    torch.manual_seed(0)
    base = load(folder, objective)
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    plain = logits(base.model.eval(), objective)
    found = learned(base, TrialSettings(method=method, rank=4), objective.head)
    expected = logits(found.model, objective)
    assert (expected - plain).abs().max() > 1e-3
    save_adapter(found, tmp_path / "adapter")
    torch.manual_seed(1)  # weights missing in the files are random, and must come with the adapter
    again = load(folder, objective)
    model = PeftModel.from_pretrained(again.model, str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(model, objective), expected, atol=1e-5, rtol=0)
    trained = {name for name, parameter in found.model.named_parameters() if parameter.requires_grad}
    assert all(METHODS[method].prefix in name or "modules_to_save" in name for name in trained)
    assert not any(METHODS[method].prefix in name for name in before)


@pytest.mark.parametrize("method", MERGED_TO_MEASURE)
@pytest.mark.parametrize(("write", "objective"), [MODELS[0], MODELS[4]])
def test_merging_restores_the_base_exactly(
    method: str, write: Callable[[Path], Path], objective: Objective, tmp_path: Path
) -> None:
    if write is tiny_gpt2 and method in {"loha", "lokr"}:
        pytest.skip("these are for layers of torch's own; see the test below")
    torch.manual_seed(0)
    base = load(write(tmp_path), objective)
    for name, parameter in base.model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)  # zero in untrained models
    model = learned(base, TrialSettings(method=method, rank=4), objective.head).model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = logits(model, objective)
    with merged(model):
        assert torch.allclose(logits(model, objective), plain, atol=1e-5)
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(".base_layer.weight" in name or method == "ia3" for name in changed)
    assert any(".base_layer.bias" in name for name in changed) == (method == "ia3")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(logits(model, objective), plain)


def test_error_names_the_unsupported_layer(tmp_path: Path) -> None:
    base = load(tiny_gpt2(tmp_path), TinyCausal())
    for method in ("loha", "lokr"):
        with pytest.raises(UserError, match=rf"^adapter\.method: {method} cannot be put on this model: .*Conv1D"):
            adapt(base, TrialSettings(method=method), Head.CAUSAL_LM)


@pytest.fixture
def bert(tmp_path: Path) -> Base:
    return load(tiny_bert(tmp_path), TinyClassification())


def test_supported_settings_match_the_peft_configuration(bert: Base) -> None:
    config = partial(peft_config, bert, head=Head.SEQUENCE_CLASSIFICATION)
    for method in METHODS.keys() - {"trainable_tokens"}:  # it trains no head
        plain = TrialSettings(method=method)
        shown = {
            name
            for name, value in OWN.items()
            if config(replace(plain, **{name: value})).to_dict() != config(plain).to_dict()  # type: ignore[arg-type]
        }
        assert shown == METHODS[method].settings - {"lora_plus_ratio"}, method  # used by the optimizer only
        if not METHODS[method].is_prompt and method not in (HEAD, FULL):
            assert PEFT_TYPE_TO_PREFIX_MAPPING[PeftType(config(plain).peft_type)] == METHODS[method].prefix
    assert takers("rank")[:4] == ("lora", "loha", "lokr", "vera")
    assert takers("options.oft_block_size") == ("oft",)
    assert takers("batch_size") == tuple(METHODS)


@pytest.mark.parametrize("method", MERGED_TO_MEASURE)
def test_head_rate_and_neutral_decay(method: str, bert: Base) -> None:
    settings = TrialSettings(method=method, learning_rate=1e-2, head_learning_rate=1e-3, weight_decay=10.0)
    model = adapt(bert, settings, Head.SEQUENCE_CLASSIFICATION).model.eval()
    names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimiser = build_optimiser(model, settings)
    groups = {names[parameter]: group for group in optimiser.param_groups for parameter in group["params"]}
    assert set(groups) == set(names.values())
    assert {name for name, group in groups.items() if group["lr"] == 1e-3} == {
        name for name in groups if "modules_to_save" in name
    }
    assert any(group["lr"] == 1e-3 for group in groups.values())
    assert {group["lr"] for group in groups.values()} == {1e-2, 1e-3}
    with model.disable_adapter():
        plain = model(input_ids=torch.arange(5, 25)[None], output_hidden_states=True).hidden_states[-1]
    for parameter in names:
        parameter.grad = torch.zeros_like(parameter)
    for _ in range(100):
        optimiser.step()
    decayed = model(input_ids=torch.arange(5, 25)[None], output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(decayed, plain)


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        *(({"method": name}, "prompt_encoder") for name, method in METHODS.items() if method.is_prompt),
        ({"options.bias": "all"}, "query.base_layer.bias"),
        ({"options.trainable_token_indices": "[3, 5]"}, "trainable_tokens_delta"),
    ],
)
def test_parameters_outside_the_head_have_their_own_rate(
    settings: dict[str, ParamValue], part: str, bert: Base
) -> None:
    """They have no weight decay either: zero is not the neutral value of prompts, token rows and biases."""
    rates = {"learning_rate": 1e-2, "head_learning_rate": 1e-3, "weight_decay": 10.0}
    trial = TrialSettings.from_params({**settings, **rates})
    model = adapt(bert, trial, Head.SEQUENCE_CLASSIFICATION).model
    groups = build_optimiser(model, trial).param_groups
    group_of = {parameter: group for group in groups for parameter in group["params"]}
    found = [group_of[parameter] for name, parameter in model.named_parameters() if part in name]
    assert found
    assert {(group["lr"], group["weight_decay"]) for group in found} == {(1e-2, 0.0)}


def test_ia3_multiplies_the_hidden_vector_of_feed_forward(bert: Base, tmp_path: Path) -> None:
    def factors(base: Base, targets: str, head: Head = Head.SEQUENCE_CLASSIFICATION) -> dict[str, tuple[int, ...]]:
        model = adapt(base, TrialSettings(method="ia3", target_modules=targets), head).model
        return {
            name.removeprefix("base_model.model.").removesuffix(".ia3_l.default"): tuple(parameter.shape)
            for name, parameter in model.named_parameters()
            if "ia3_l" in name
        }

    layer = "bert.encoder.layer.1"
    found = factors(bert, "value, output.dense")
    assert found[f"{layer}.output.dense"] == (1, 32)
    assert found[f"{layer}.attention.self.value"] == (16, 1)
    bert = load(tiny_bert(tmp_path / "again"), TinyClassification())
    found = factors(bert, "all-linear")
    assert (found[f"{layer}.output.dense"], found[f"{layer}.attention.output.dense"]) == ((1, 32), (16, 1))
    unknown = load(tiny_switch(tmp_path / "switch"), TinySeq2Seq())
    assert {shape[1] for shape in factors(unknown, "wo", Head.SEQ2SEQ_LM).values()} == {1}
