"""Adapters refused by peft are reported before the first trial, and so are effects of a model's architecture."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import XLNetConfig, XLNetForSequenceClassification

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import Choices, Parameter, ParamValue, Space
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.objective.protocol import Head, Objective
from orchestrator.spec.covering import covering
from orchestrator.training.checks.adapter_check import check_adapters
from orchestrator.training.checks.model_notes import model_notes
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.model.base_model import Base, load_base
from orchestrator.training.model.structure import load_structure
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bert,
    tiny_gpt2,
    tiny_llama,
    tiny_mixtral,
    tiny_qwen2_moe,
    tiny_qwen3_moe,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.training.packed.packs import MADE_UP

NAMES = ("method", "target_modules", "init", "dora", "rslora", "dropout", "rank")
BY_PARAMETER = r" \(in this model peft adapts parameters outside of layers: down_proj, gate\.weight, gate_up_proj\)"
EXPERTS = "mlp.experts.gate_up_proj (2), mlp.experts.down_proj (2)"
ATTENTION = "self_attn.q_proj (2), self_attn.k_proj (2), self_attn.v_proj (2), self_attn.o_proj (2)"


def plan_of(
    model: Path | Source,
    searched: dict[str, list[ParamValue]],
    quantisation: Quantisation | None = None,
    **fixed: ParamValue,
) -> EnginePlan:
    parameters = [Parameter(name=name, distribution=Choices(choices=(*of,))) for name, of in searched.items()]
    space = Space(parameters=(*parameters,))
    return EnginePlan(
        objective="made up",
        model=model if isinstance(model, Source) else Source(origin=Origin.LOCAL, name=str(model)),
        data=DataPlan(source=MADE_UP, train=40, validation=20, test=12),
        report_points=(40,),
        sweep_dir="",
        metric="val/loss",
        engine=EngineName.PACKED,
        quantisation=quantisation,
        tried=covering(space, fixed, NAMES),
        searched=space.searched,
    )


def refusal(plan: EnginePlan, objective: Objective) -> list[str]:
    with pytest.raises(UserError) as caught:
        check_adapters(plan, objective)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("write", [tiny_mixtral, tiny_qwen3_moe])
def test_dropout_on_experts_is_refused(write: Callable[[Path], Path], tmp_path: Path) -> None:
    message = r"dropout 0\.1 cannot be trained on this model: lora\.ParamWrapper does not work with lora_dropout != 0"
    folder = write(tmp_path)
    [searched] = refusal(plan_of(folder, {"dropout": [0.0, 0.05, 0.1], "rank": [4, 8, 16]}), TinyCausal())
    [fixed] = refusal(plan_of(folder, {"rank": [4, 8]}, dropout=0.1), TinyCausal())
    for place, line in (("search.space", searched), ("adapter", fixed)):
        assert re.fullmatch(rf"{place}\.dropout: {message}{BY_PARAMETER}; possible: dropout 0\.0", line)


def test_error_has_a_line_per_refused_value(tmp_path: Path) -> None:
    space: dict[str, list[ParamValue]] = {
        "init": ["default", "orthogonal", "pissa"],
        "dora": [False, True],
        "target_modules": ["all-linear", "q_proj,v_proj"],
    }
    lines = refusal(plan_of(tiny_mixtral(tmp_path), space), TinyCausal())
    values = [line.partition(" cannot be trained")[0] for line in lines]
    assert sorted(values) == [
        "search.space.dora: dora true with target_modules all-linear",
        "search.space.init: init orthogonal with target_modules all-linear",
        "search.space.init: init pissa with target_modules all-linear",
    ]
    assert all(line.endswith(" or target_modules q_proj,v_proj") for line in lines)


@pytest.mark.parametrize("method", ["loha", "lokr"])
def test_methods_for_torchs_layers_are_refused_on_gpt2(method: str, tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path)
    for place, plan in (
        ("search.space", plan_of(folder, {"method": ["ia3", "lora", method]})),
        ("adapter", plan_of(folder, {"rank": [4, 8]}, method=method)),
    ):
        [line] = refusal(plan, TinyCausal())
        assert line.startswith(f"{place}.method: method {method} cannot be trained on this model: ")
        assert "Conv1D'> not supported" in line
        assert line.endswith("; possible: method lora")


def test_error_gives_the_place_of_unknown_modules(tmp_path: Path) -> None:
    folder = tiny_gpt2(tmp_path)
    rule = "all-linear or names of the model's modules are needed: c_attn, c_proj, c_fc, lm_head; got q"
    [line] = refusal(plan_of(folder, {"target_modules": ["c_attn", "c_attn,q"]}), TinyCausal())
    assert line == f"search.space.target_modules: {rule}"
    [line] = refusal(plan_of(folder, {"rank": [4]}, target_modules="attn"), TinyCausal())
    assert line.startswith("adapter.target_modules: target_modules attn cannot be trained on this model: Target module")
    assert check_adapters(plan_of(folder, {"rank": [4]}, target_modules="h.1.attn.c_attn"), TinyCausal()) == ()


def test_packed_engine_refuses_before_its_first_trial(tmp_path: Path) -> None:
    engine = MixedEngine(EngineContext(plan_of(tiny_mixtral(tmp_path), {"dropout": [0.0, 0.1]}), TinyCausal()))
    with pytest.raises(UserError, match=r"^search\.space\.dropout: dropout 0\.1 cannot be trained"):
        engine.capacity(3, measure=False)
    engine.close()


def test_solo_engine_trains_adapters_of_experts(tmp_path: Path) -> None:
    engine = MixedEngine(EngineContext(plan_of(tiny_qwen3_moe(tmp_path), {"rank": [4, 8]}), TinyCausal()))
    capacity = engine.capacity(3, measure=False)
    engine.close()
    assert (capacity.packs, capacity.why) == (
        False,
        "peft adapts its experts by parameter, and a pack adapts only layers",
    )
    [note] = capacity.notes
    assert note.startswith("a mixture of experts, lora on all-linear: experts ")


def test_structure_and_model_lack_the_same_weights(tmp_path: Path) -> None:
    for write, objective in ((bert_without_pooler, TinyClassification()), (tiny_mixtral, TinyCausal())):
        source = Source(origin=Origin.LOCAL, name=str(write(tmp_path / write.__name__)))
        base, structure = load_base(source, objective, "cpu"), load_structure(source, objective)
        assert structure.fresh_modules == base.fresh_modules
        shapes = {name: value.shape for name, value in base.model.state_dict().items()}
        assert {name: value.shape for name, value in structure.model.state_dict().items()} == shapes
        assert {value.device.type for value in structure.model.state_dict().values()} == {"meta"}


def test_notes_say_which_experts_get_adapters(tmp_path: Path) -> None:
    def notes(write: Callable[[Path], Path], **fixed: ParamValue) -> tuple[str, ...]:
        folder = write(tmp_path / write.__name__)
        return check_adapters(plan_of(folder, {"rank": [4, 8]}, None, **fixed), TinyCausal())

    assert notes(tiny_llama) == ()
    [given] = notes(tiny_mixtral)
    start = "a mixture of experts, lora on all-linear: experts"
    assert given == f"{start} with adapters: {EXPERTS}; also {ATTENTION}, mlp.gate (2)"
    [left_out] = notes(tiny_qwen2_moe)
    start += f" without adapters: {EXPERTS}; with adapters: "
    assert left_out.startswith(start + ATTENTION)
    assert "mlp.shared_expert.up_proj (2)" in left_out.removeprefix(start)
    [by_method] = notes(tiny_mixtral, method="loha")
    assert by_method == start.replace("lora", "loha") + ATTENTION
    [named] = notes(tiny_mixtral, target_modules="q_proj")
    assert named.endswith(f"experts without adapters: {EXPERTS}; with adapters: self_attn.q_proj (2)")


def test_stacked_attention_is_not_a_mixture() -> None:
    config = XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=32, vocab_size=64)
    with torch.device("meta"):
        base = Base(model=XLNetForSequenceClassification(config), fresh_modules=(), revision=None)
    trial: dict[str, ParamValue] = {"method": "lora", "target_modules": "all-linear"}
    assert model_notes(base, Head.SEQUENCE_CLASSIFICATION, [trial], None) == ()
    share, memory = model_notes(base, Head.SEQUENCE_CLASSIFICATION, [trial], Quantisation.NF4)
    assert "not in 4 bits: rel_attn.q (2), rel_attn.k (2)" in share
    assert memory.startswith("quantisation nf4: the base model takes ")


def test_note_has_the_fraction_in_4_bits(tmp_path: Path) -> None:
    def note(write: Callable[[Path], Path]) -> str:
        plan = plan_of(write(tmp_path / write.__name__), {"rank": [4, 8]}, Quantisation.NF4)
        return check_adapters(plan, TinyCausal())[0]

    folder = tiny_qwen2_moe(tmp_path / "counted")
    model = load_base(Source(origin=Origin.LOCAL, name=str(folder)), TinyCausal(), "cpu").model
    total = sum(value.numel() for name, value in model.named_parameters() if ".layers." in name)
    inside = [module for name, module in model.named_modules() if "layers" in name]
    linear = sum(module.weight.numel() for module in inside if isinstance(module, torch.nn.Linear))
    message = f"quantisation nf4: {100 * linear / total:.0f} % of the weights in the layers are held in 4 bits"
    assert 0.1 < linear / total < 0.2
    assert note(tiny_qwen2_moe) == f"{message}; not in 4 bits: {EXPERTS}"
    assert note(tiny_llama) == "quantisation nf4: 99 % of the weights in the layers are held in 4 bits"


def test_note_names_methods_that_cannot_be_merged(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    searched: dict[str, list[ParamValue]] = {"method": ["lora", "lily", "ln_tuning"]}
    message = "peft cannot merge {} into the base model: registry export works only without --merge"
    given = check_adapters(plan_of(folder, searched), TinyClassification())
    assert given == (message.format("lily, ln_tuning"),)
    given = check_adapters(plan_of(folder, {}, method="ln_tuning"), TinyClassification())
    assert given == (message.format("ln_tuning"),)


def test_note_names_lokr_ranks_without_effect() -> None:
    """MiniLM's layers are 384 wide: 16 × 24, and 1,536 is 32 × 48."""
    model = Source(origin=Origin.PACKAGED, name="minilm")
    message = "lokr on {}: from rank 12 on the rank changes only the scale alpha / rank {}, because peft then trains "
    message += "the whole factor; the search space has ranks up to 32: choose ranks below 12"
    lokr: dict[str, list[ParamValue]] = {"rank": [4, 8, 11, 16, 32], "target_modules": ["query,value", "all-linear"]}
    assert check_adapters(plan_of(model, lokr, method="lokr"), TinyClassification()) == (
        message.format("query,value", "in every layer"),
        message.format("all-linear", "in 25 of 37 layers, from 24 on in all"),
    )
    few: dict[str, list[ParamValue]] = {"rank": [4, 8, 11]}
    assert check_adapters(plan_of(model, few, method="lokr"), TinyClassification()) == ()
    many: dict[str, list[ParamValue]] = {"rank": [4, 64]}
    assert check_adapters(plan_of(model, many, method="lora"), TinyClassification()) == ()


def test_all_that_peft_takes_passes(tmp_path: Path) -> None:
    space: dict[str, list[ParamValue]] = {
        "method": ["lora", "ia3", "loha", "lokr", "vera"],
        "init": ["default", "gaussian", "orthogonal", "pissa"],
        "dropout": [0.0, 0.1],
        "rank": [2, 4],
        "target_modules": ["all-linear", "query"],
    }
    notes = check_adapters(plan_of(tiny_bert(tmp_path), space), TinyClassification())
    assert all(line.startswith("lokr on ") for line in notes)
