"""A base model in 4 or 8 bits: quantised layers, memory, and layers unchanged by their forwards."""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.model.adapters import adapt, merged
from orchestrator.training.model.base_model import Base, load_base
from orchestrator.training.model.base_size import held_bytes, planned_bytes
from orchestrator.training.model.structure import load_structure
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.layers.lora import PackedLoRA
from tests import needs
from tests.fakes.tiny_models import bert_without_pooler, tiny_bert, tiny_gpt2, tiny_llama, tiny_roberta
from tests.fakes.tiny_objective import TinyCausal, TinyClassification

HEADS = ("classifier", "pooler", "score", "lm_head")


def load(
    folder: Path,
    objective: Objective,
    dtype: torch.dtype = torch.float32,
    quantisation: Quantisation = Quantisation.NF4,
) -> Base:
    source = Source(origin=Origin.LOCAL, name=str(folder))
    return load_base(source, objective, "cpu", dtype=dtype, quantisation=quantisation)


def in_4_bits(model: nn.Module) -> dict[str, nn.Linear]:
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not module.weight.is_floating_point()
    }


def held(weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield all tensors of a quantised weight."""
    if weight.dtype is torch.int8:
        yield from (weight.data, weight.SCB)  # type: ignore[attr-defined]
        return
    state = weight.quant_state  # type: ignore[attr-defined]
    if not state.nested:
        yield from (weight.data, state.absmax, state.code)
        return
    yield from (weight.data, state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)


def num_bytes(weights: list[torch.Tensor]) -> int:
    """Return the bytes of the weights; shared tensors count once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for w in weights for t in held(w)}
    return sum(storages.values())


@needs.bitsandbytes
@pytest.mark.parametrize(
    ("build", "objective"),
    [
        (partial(tiny_bert, width=64), TinyClassification()),
        (partial(bert_without_pooler, width=64), TinyClassification()),
        (partial(tiny_roberta, width=64), TinyClassification()),
        (partial(tiny_gpt2, width=64), TinyClassification()),
        (partial(tiny_gpt2, width=64), TinyCausal()),
        (partial(tiny_llama, width=64), TinyCausal()),
    ],
)
def test_heads_and_poolers_are_not_quantised(
    build: Callable[[Path], Path], objective: Objective, tmp_path: Path
) -> None:
    base = load(build(tmp_path), objective)
    quantised = in_4_bits(base.model)
    others = {name for name, module in base.model.named_modules() if isinstance(module, nn.Linear)} - {*quantised}
    assert quantised
    assert all(any(part.isdecimal() for part in name.split(".")) for name in quantised)
    assert others
    assert all(any(head in name for head in HEADS) for name in others)
    assert not {*base.fresh_modules} & {*quantised}
    floats = {parameter.dtype for parameter in base.model.parameters() if parameter.is_floating_point()}
    assert floats == {torch.float32}


@needs.bitsandbytes
def test_layers_use_a_quarter_of_bfloat16_memory(tmp_path: Path) -> None:
    source = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path, width=256)))
    base = load_base(source, TinyClassification(), "cpu", quantisation=Quantisation.NF4)
    layers = [*in_4_bits(base.model).values()]
    in_bfloat16 = sum(2 * layer.in_features * layer.out_features for layer in layers)
    assert 0.25 < num_bytes([layer.weight for layer in layers]) / in_bfloat16 < 0.28
    pack = Pack(source, TinyClassification(), "cpu", torch.bfloat16, Quantisation.NF4)
    for name in in_4_bits(pack.model):
        pack.pack_layer(name, "A")
    adapted = [module for module in pack.model.modules() if isinstance(module, PackedLoRA)]
    assert len(adapted) == len(layers)
    assert 0.25 < num_bytes([module.frozen.stored for module in adapted]) / in_bfloat16 < 0.28
    assert not in_4_bits(pack.model)  # nothing else refers to them


@needs.bitsandbytes
def test_number_formats_share_the_same_codes(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path, width=64)
    exact, rough = (load(folder, TinyClassification(), dtype) for dtype in (torch.float32, torch.bfloat16))
    found = in_4_bits(rough.model)
    for name, layer in in_4_bits(exact.model).items():
        for one, other in zip(held(layer.weight), held(found[name].weight), strict=True):
            assert torch.equal(one, other), name
    floats = {parameter.dtype for parameter in rough.model.parameters() if parameter.is_floating_point()}
    assert floats == {torch.bfloat16}


@needs.bitsandbytes
@pytest.mark.parametrize("quantisation", Quantisation)
def test_planned_memory_is_the_measured_memory(quantisation: Quantisation, tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path, width=128)
    base = load(folder, TinyCausal(), quantisation=quantisation)
    structure = load_structure(Source(origin=Origin.LOCAL, name=str(folder)), TinyCausal()).model
    measured, plain = held_bytes(base.model), planned_bytes(structure, None, 4)
    assert planned_bytes(structure, quantisation, 4) == pytest.approx(measured, rel=0.01)
    assert plain == sum(4 * parameter.numel() for parameter in structure.parameters())
    in_layers = sum(4 * layer.in_features * layer.out_features for layer in in_4_bits(base.model).values())
    codes = measured - (plain - in_layers)
    assert quantisation.bits / 32 < codes / in_layers < 1.3 * quantisation.bits / 32
    assert base.model.get_submodule("lm_head").weight.dtype is torch.float32


@needs.bitsandbytes
@pytest.mark.parametrize("quantisation", [Quantisation.FP4, Quantisation.FP4_SINGLE, Quantisation.INT8])
def test_decoded_weights_are_near_the_originals(quantisation: Quantisation, tmp_path: Path) -> None:
    from orchestrator.training.model.quantised import weight_of

    folder = tiny_bert(tmp_path, width=64)
    plain = load_base(Source(origin=Origin.LOCAL, name=str(folder)), TinyClassification(), "cpu").model
    layers = in_4_bits(load(folder, TinyClassification(), quantisation=quantisation).model)
    assert layers
    for name, layer in layers.items():
        original = plain.get_submodule(name).weight
        assert isinstance(original, torch.Tensor)
        error = (weight_of(layer.weight) - original).norm() / original.norm()
        assert 0 < error < (0.01 if quantisation is Quantisation.INT8 else 0.2), name


@needs.bitsandbytes
@pytest.mark.parametrize("quantisation", Quantisation)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layer_equals_linear_layer_with_decoded_weight(
    quantisation: Quantisation, dtype: torch.dtype, tmp_path: Path
) -> None:
    from orchestrator.training.model.quantised import weight_of

    torch.manual_seed(0)
    base = load(tiny_bert(tmp_path, width=64), TinyClassification(), quantisation=quantisation)
    layer = base.model.get_submodule("bert.encoder.layer.1.output.dense")
    assert isinstance(layer, nn.Linear)
    nn.init.normal_(layer.bias)
    plain = nn.Linear(layer.in_features, layer.out_features)
    plain.load_state_dict({"weight": weight_of(layer.weight), "bias": layer.bias.data})
    before = [tensor.clone() for tensor in (*held(layer.weight), layer.bias.data)]
    x = torch.randn(3, 5, layer.in_features)
    for training in (True, False, True):  # evaluation in between must not change training
        inputs = [x.clone().requires_grad_(training) for _ in range(2)]
        with torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16), torch.set_grad_enabled(training):
            found, expected = layer.train(training)(inputs[0]), plain.train(training)(inputs[1])
        assert found.dtype is expected.dtype is dtype
        torch.testing.assert_close(found, expected)
        if training:
            found.float().square().sum().backward()
            expected.float().square().sum().backward()
            torch.testing.assert_close(
                inputs[0].grad, inputs[1].grad, rtol=1e-2 if dtype is torch.bfloat16 else 1e-5, atol=1e-3
            )
    for tensor, old in zip((*held(layer.weight), layer.bias.data), before, strict=True):
        assert torch.equal(tensor, old)


@needs.bitsandbytes
def test_4_bit_weights_are_not_merged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = load(tiny_bert(tmp_path, width=64), TinyClassification())
    model = adapt(base, TrialSettings(init="gaussian"), Head.SEQUENCE_CLASSIFICATION).model.eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    ids = torch.arange(5, 25)[None]
    plain = model(input_ids=ids).logits
    with merged(model):
        assert torch.equal(model(input_ids=ids).logits, plain)


def test_missing_bitsandbytes_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # not installed
    with pytest.raises(UserError, match=r"^quantisation: nf4 needs a package .*: pip install bitsandbytes$"):
        load(tiny_bert(tmp_path), TinyClassification())


@needs.bitsandbytes
def test_layer_decoded_wrongly_on_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a multiple of 64, and bert\.encoder\.layer\.0\.\S+ of this model has 16"):
        load(tiny_bert(tmp_path), TinyClassification())
