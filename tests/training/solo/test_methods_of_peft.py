"""Every method of peft in the solo engine: equal to plain peft, resumed exactly, exported and measured the same."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AdaLoraModel, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import FULL, LORA, METHODS
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.objective.protocol import Example, Objective
from orchestrator.promotion.export.peft_folder import export_folder
from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
from orchestrator.training.checks.adapter_check import check_adapters
from orchestrator.training.context import EngineContext
from orchestrator.training.data.order import data_order
from orchestrator.training.solo.engine import SoloEngine
from tests.contracts.engine_contract import MADE_UP, ROWS, learned
from tests.fakes.tiny_models import bert_without_pooler, tiny_bert, tiny_gpt2, tiny_llama, tiny_t5, tiny_t5_classifier
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.solo.cards import write_card

SMALL: Mapping[str, Mapping[str, ParamValue]] = {
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 32},
    "oft": {"oft_block_size": 4},
    "road": {"group_size": 8},
    "prompt_tuning": {"num_virtual_tokens": 4},
    "prefix_tuning": {"num_virtual_tokens": 4},
    "p_tuning": {"num_virtual_tokens": 4},
    "trainable_tokens": {"token_indices": "[2, 8, 9, 10, 11, 12]"},
    "vblora": {"vector_length": 8, "num_vectors": 8},
    "waveft": {"n_frequency": 32},
}
"""Options for layers of 16 units."""
CAUSAL = ("trainable_tokens",)
"""Methods that train no head."""
SEED, BATCH, POINTS = 7, 8, (8, 16)
RATE, HEAD_RATE = 0.02, 0.005


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a classifier and a causal model, without dropout: the solo engine draws other masks than torch."""
    folder = tmp_path_factory.mktemp("models")
    bert, llama = tiny_bert(folder / "bert"), tiny_llama(folder / "llama")
    config = json.loads((bert / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (bert / "config.json").write_text(json.dumps(config))
    return {"bert": bert, "llama": llama}


def task_of(method: str, **settings: ParamValue) -> TrialTask:
    given = {f"options.{name}": value for name, value in SMALL.get(method, {}).items()}
    chosen = {"method": method, "rank": 4, "batch_size": BATCH, "max_length": 32, **given}
    chosen |= {"learning_rate": RATE, "head_learning_rate": HEAD_RATE}
    return TrialTask(number=0, settings=TrialSettings.from_params(chosen | settings), seed=SEED)


@pytest.mark.parametrize(
    ("method", "causal"),
    [
        *((name, name in CAUSAL) for name in METHODS if name not in (LORA, FULL)),  # full: test_full.py
        *((name, True) for name, method in METHODS.items() if method.is_prompt),
    ],
)
def test_method_equals_plain_peft_and_resumes_exactly(
    method: str, causal: bool, models: dict[str, Path], tmp_path: Path
) -> None:
    model, objective = (models["llama"], TinyCausal()) if causal else (models["bert"], TinyClassification())
    task = task_of(method)
    context = context_of(model, objective, tmp_path)
    engine = SoloEngine(context)
    whole = reports(engine, task)
    adapter = tmp_path / str(whole[-1].checkpoint) / "adapter"
    saved = load_file(adapter / "adapter_model.safetensors")
    plain = plain_training(adapter, model, objective, context.data.train(task), task)
    expected = get_peft_model_state_dict(plain, save_embedding_layers=False)
    assert saved.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(saved[name], tensor.detach(), atol=1e-6, rtol=1e-4)
    measured = engine.measure(adapter, task, "validation")  # loaded by PeftModel.from_pretrained
    assert measured.metrics["loss"] == pytest.approx(whole[-1].metrics["val/loss"], abs=1e-6)
    engine.close()
    assert_predicts(adapter, model, objective, plain)
    if METHODS[method].merges:
        assert_merges(plain, tmp_path / "merged")
    shutil.rmtree(tmp_path / str(whole[-1].checkpoint))  # killed after its first report
    again = SoloEngine(context_of(model, objective, tmp_path))
    assert learned(reports(again, task)[-1]) == learned(whole[-1])
    assert_equal(load_file(adapter / "adapter_model.safetensors"), saved)
    again.close()


def test_adalora_resumes_exactly_in_each_phase(models: dict[str, Path], tmp_path: Path) -> None:
    """Before, between and after its masks, and with regrown ranks (``deltaT``)."""
    points = (8, 16, 24, 32, 40)
    options: dict[str, ParamValue] = {"options.tinit": 1, "options.tfinal": 1, "options.deltaT": 2}
    task = task_of("adalora", **options)
    engine = SoloEngine(context_of(models["bert"], TinyClassification(), tmp_path / "whole", points))
    whole = reports(engine, task, points)
    adapters = [tmp_path / "whole" / str(report.checkpoint) / "adapter" for report in whole]
    for report, adapter in zip(whole, adapters, strict=True):
        loss = engine.measure(adapter, task, "validation").metrics["loss"]
        assert loss == pytest.approx(report.metrics["val/loss"], abs=1e-6)
    engine.close()
    for point, report in zip(points, whole, strict=True):
        killed = SoloEngine(context_of(models["bert"], TinyClassification(), tmp_path / "killed", points))
        assert [learned(again) for again in reports(killed, task, (point,))] == [learned(report)]
        killed.close()
    last = [
        tmp_path / name / str(whole[-1].checkpoint) / "adapter/adapter_model.safetensors"
        for name in ("whole", "killed")
    ]
    assert_equal(load_file(last[0]), load_file(last[1]))
    patterns = [json.loads((adapter / "adapter_config.json").read_text())["rank_pattern"] for adapter in adapters]
    ranks = [sum(map(sum, pattern.values())) for pattern in patterns]
    assert ranks[0] == 6 * len(patterns[0])  # init_r
    assert ranks[-1] <= 4 * len(patterns[0])  # rank


@pytest.mark.parametrize(
    ("write", "objective", "settings", "message"),
    [
        (tiny_llama, TinyCausal(), {"method": "head"}, "this task has no head of its own"),
        (tiny_bert, TinyClassification(), task_of("trainable_tokens").settings.to_json(), "it trains no head"),
        (bert_without_pooler, TinyClassification(), {"method": "p_tuning"}, r"bert\.pooler\.dense has no weights"),
        (tiny_t5, TinySeq2Seq(), {"method": "prefix_tuning"}, "supported here for text classifiers and causal"),
        (
            tiny_t5_classifier,
            TinyClassification(),
            {"method": "prefix_tuning"},
            "with encoder and decoder does not take",
        ),
        (tiny_gpt2, TinyCausal(), {"method": "hra"}, r"adapter\.method: method hra .*Conv1D .*possible: method lora"),
        (tiny_bert, TinyClassification(), {"method": "c3a"}, "method c3a .*the block size is 256"),
        (
            tiny_bert,
            TinyClassification(),
            {"method": "adalora", "rank": 8, "options.init_r": 8},
            "init_r: more than rank=8 is needed, got 8",
        ),
        (
            tiny_bert,
            TinyClassification(),
            {"method": "adalora", "options.tinit": 2, "options.tfinal": 2},
            r"tinit \+ tfinal: less than the trial's 3 optimizer steps is needed, got 4",
        ),
        (
            tiny_bert,
            TinyClassification(),
            {"method": "prompt_tuning", "max_length": 120},
            r"data\.max_length: at most 108 tokens fit beside the 20 virtual tokens of prompt_tuning \(128 positions\)",
        ),
    ],
)
def test_unsuitable_method_is_refused_before_first_trial(
    write: Callable[[Path], Path],
    objective: Objective,
    settings: Mapping[str, ParamValue],
    message: str,
    tmp_path: Path,
) -> None:
    context = context_of(write(tmp_path / "model"), objective, tmp_path)
    largest = {"batch_size": BATCH, "max_length": settings.get("max_length", 32)}
    tried = {"target_modules": "all-linear", **{name: settings[name] for name in settings if name != "max_length"}}
    plan = replace(context.plan, tried=(tried,), largest=largest, report_points=(24,))
    with pytest.raises(UserError, match=message):
        check_adapters(plan, objective)


def assert_predicts(adapter: Path, model: Path, objective: Objective, plain: PeftModel) -> None:
    """Assert that the logged model's runner has the predictions of plain peft."""
    card, tokenizer = write_card(adapter, model, objective, samples=8), AutoTokenizer.from_pretrained(model)
    export_folder(adapter, card, adapter.with_name("export"))
    runner = AdapterRunner(adapter)
    encoded = tokenizer("a good film", return_tensors="pt")
    with torch.no_grad():
        expected, found = (each(**encoded).logits for each in (plain, runner.model))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    if objective.labels:
        [probabilities] = runner.probabilities(["a good film"])
        assert probabilities == pytest.approx(expected.softmax(-1)[0].tolist(), abs=1e-5)
    else:
        tokens = runner.model.generate(**encoded, max_new_tokens=1, do_sample=False)
        assert int(tokens[0, -1]) == int(expected[0, -1].argmax())
        assert runner.generate(["a good film"], max_new_tokens=4)


def assert_merges(model: PeftModel, folder: Path) -> None:
    """Assert that plain transformers load a merged model with the same logits."""
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        merged: Any = model.merge_and_unload()
        merged.save_pretrained(folder)
        again = type(merged).from_pretrained(folder).eval()
        torch.testing.assert_close(again(input_ids=ids).logits, before, atol=1e-5, rtol=1e-4)


def assert_equal(tensors: Mapping[str, torch.Tensor], others: Mapping[str, torch.Tensor]) -> None:
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def context_of(model: Path, objective: Objective, folder: Path, points: tuple[int, ...] = POINTS) -> EngineContext:
    data = DataPlan(source=MADE_UP, train=ROWS, validation=20, test=12, train_eval=10)
    plan = EnginePlan(
        objective="made up",
        model=Source(origin=Origin.LOCAL, name=str(model)),
        data=data,
        report_points=points,
        sweep_dir=str(folder),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
    )
    return EngineContext(plan, objective)


def reports(engine: SoloEngine, task: TrialTask, points: tuple[int, ...] = POINTS) -> list[Report]:
    run = engine.start(task)
    try:
        return [run.advance(point) for point in points]
    finally:
        run.close()


def plain_training(
    adapter: Path, model: Path, objective: Objective, rows: Sequence[Example], task: TrialTask
) -> PeftModel:
    """Return the model after the same updates with plain transformers, peft and AdamW."""
    config = PeftConfig.from_pretrained(str(adapter))
    config.inference_mode = False
    auto: Any = AutoModelForSequenceClassification if objective.labels else AutoModelForCausalLM
    set_seed(task.seed)
    peft_model: Any = get_peft_model(auto.from_pretrained(model, attn_implementation="eager"), config)
    tokenizer = AutoTokenizer.from_pretrained(model)
    order = data_order([len(row["input_ids"]) for row in rows], BATCH, len(POINTS), task.seed)
    trained = {name: parameter for name, parameter in peft_model.named_parameters() if parameter.requires_grad}
    head = [parameter for name, parameter in trained.items() if "modules_to_save" in name]
    adapter_own = [parameter for name, parameter in trained.items() if "modules_to_save" not in name]
    groups = [{"params": adapter_own, "lr": RATE}, {"params": head, "lr": HEAD_RATE}]
    adamw = torch.optim.AdamW(groups, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda update: 1 - update / len(POINTS))
    peft_model.train()
    set_seed(task.seed)  # as Trainer does; PVeRA draws in its forward
    for update, indices in enumerate(order, 1):
        batch = objective.collate([rows[index] for index in indices], tokenizer)
        inputs = {name: value for name, value in batch.items() if name in {"input_ids", "attention_mask"}}
        logits = peft_model(**inputs).logits
        if logits.dim() == 3:
            logits = logits[:, -batch["input_ids"].shape[1] :]  # without virtual tokens
        sums, units = objective.losses(logits, batch, 0.0)
        (sums.sum() / units.sum() + orthogonality(peft_model)).backward()
        torch.nn.utils.clip_grad_norm_(peft_model.parameters(), 1.0)
        adamw.step()
        schedule.step()
        if isinstance(peft_model.base_model, AdaLoraModel):
            peft_model.base_model.update_and_allocate(update)
        adamw.zero_grad()
    result: PeftModel = peft_model.eval()
    return result


def orthogonality(model: PeftModel) -> torch.Tensor:
    """Return AdaLoRA's penalty as peft adds it to a model's own loss; 0 for other methods."""
    if not isinstance(model.base_model, AdaLoraModel):
        return torch.zeros(())
    ids = torch.tensor([[5, 6]])
    plain: torch.Tensor = model.get_base_model()(input_ids=ids, labels=torch.tensor([0])).loss
    total: torch.Tensor = model(input_ids=ids, labels=torch.tensor([0])).loss
    return total - plain
