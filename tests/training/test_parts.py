"""Dropout, random states, hardware, data and saved adapters, one by one."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import get_peft_model_state_dict
from torch import nn

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import AssetError, DataError, UserError
from orchestrator.core.plan import EnginePlan, Precision
from orchestrator.core.settings import TrialSettings
from orchestrator.objective.protocol import Head, Objective
from orchestrator.training.build import build_engine
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import adapt, merged
from orchestrator.training.model.base_model import load_base
from orchestrator.training.process.hardware import choose_device, computes_in_bfloat16
from orchestrator.training.process.memory import peak_mb, reset_peak
from orchestrator.training.process.random_state import RandomState, kept_random_state
from orchestrator.training.solo.dropout import FastDropout, use_fast_dropout
from tests.fakes.tiny_models import bert_without_pooler, tiny_bert, tiny_gpt2, tiny_llama, tiny_roberta, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fast_dropout_has_dropouts_distribution(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = FastDropout(p).train()
    x = torch.ones(401, 1003, dtype=dtype, requires_grad=True)
    y = layer(x)
    dropped = (y == 0).float()
    assert y.dtype == dtype
    assert dropped.mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / x.numel()) ** 0.5)
    assert y[y != 0].unique().numel() == 1
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=1e-2 if dtype is torch.bfloat16 else 1e-4)
    # Neighbours share 64 random bits, but must be independent.
    assert (dropped[:, 1:] * dropped[:, :-1]).mean().item() == pytest.approx(p * p, abs=0.005)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_fast_dropout_uses_torchs_generator_in_training_only() -> None:
    layer, x = FastDropout(0.5).train(), torch.ones(100)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    assert layer.eval()(x) is x or torch.equal(layer(x), x)
    assert torch.equal(FastDropout(0.0).train()(x), x)
    assert not FastDropout(1.0).train()(x).any()


def test_every_dropout_module_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)), nn.ModuleDict({"a": nn.Dropout(0.2)}))
    use_fast_dropout(model)
    assert [type(m) for m in model.modules() if isinstance(m, nn.Dropout)] == [FastDropout, FastDropout]
    assert [m.p for m in model.modules() if isinstance(m, FastDropout)] == [0.3, 0.2]


def test_random_states_are_restored_after_errors() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002  (the tested state)

    before = RandomState.capture()
    first = draw()
    before.restore()

    def fail() -> None:
        with kept_random_state():
            torch.manual_seed(3)
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert draw() == first


def test_hardware() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device: cuda needs a CUDA device"):
            choose_device("cuda")
    assert computes_in_bfloat16(Precision.BFLOAT16, "cpu")
    assert not computes_in_bfloat16(Precision.FLOAT32, "cpu")
    native = torch.cpu.get_capabilities()
    assert computes_in_bfloat16(Precision.AUTO, "cpu") == bool(native.get("avx512_bf16") or native.get("amx_bf16"))
    large = bytearray(b"x") * (200 * 2**20)
    with_large = peak_mb("cpu")
    del large
    reset_peak("cpu")
    assert 10 < peak_mb("cpu") < with_large - 100


@pytest.fixture
def bert(tmp_path: Path) -> Source:
    return Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))


def test_smaller_train_fraction_is_a_subset(bert: Source) -> None:
    plan = DataPlan(source=bert, train=40, validation=5, test=5, train_eval=10, shift={"other": bert}, shift_rows=3)
    data = TaskData(TinyClassification(), plan, load_tokenizer(bert))
    rows = {share: data.train(TrialSettings(train_fraction=share)) for share in (0.1, 0.3, 1.0)}
    assert [len(found) for found in rows.values()] == [4, 12, 40]
    assert rows[0.3] == rows[1.0][:12]
    assert rows[0.1] == rows[1.0][:4]
    assert data.train_eval(TrialSettings()) == rows[1.0][:10]
    assert data.train_eval(TrialSettings(train_fraction=0.1)) == rows[0.1]
    assert data.shift_sets == ("other",)
    assert len(data.split("other", 32)) == 3
    assert max(len(row["input_ids"]) for row in data.split("validation", 6)) == 6
    with pytest.raises(DataError, match="there are: train, validation, test, other"):
        data.split("unknown", 32)


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
    from orchestrator.training.model.adapters import save_adapter

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


def test_engine_is_built_from_a_plan(bert: Source, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    lines = [f"the film was {word} number {i},{label}" for i in range(20) for word, label in (("good", 1), ("bad", 0))]
    rows.write_text("\n".join(["text,label", *lines]))
    plan = EnginePlan(
        objective="sentiment",
        model=bert,
        data=DataPlan(source=Source(origin=Origin.LOCAL, name=str(rows)), train=20, validation=10, test=10),
        report_points=(16,),
        sweep_dir=str(tmp_path / "sweep"),
        metric="val/accuracy",
        device="cpu",
    )
    build_engine(plan).close()
    missing = Source(origin=Origin.LOCAL, name=str(tmp_path / "nowhere"))
    with pytest.raises(AssetError, match="is not a folder"):
        build_engine(EnginePlan(**{name: getattr(plan, name) for name in plan.__slots__} | {"model": missing}))
