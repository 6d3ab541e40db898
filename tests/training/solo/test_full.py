"""Full fine-tuning: equal to plain transformers, resumed exactly, measured and merged with the same outputs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoTokenizer, set_seed

from orchestrator.core.methods.catalogue import FULL
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Objective
from orchestrator.promotion.export.merge import export_merged
from orchestrator.training.checks.adapter_check import check_adapters
from orchestrator.training.data.order import data_order
from orchestrator.training.model.base_model import AUTO_CLASSES
from orchestrator.training.solo.engine import SoloEngine
from tests.contracts.engine_contract import learned
from tests.fakes.tiny_answers import TinyAnswers
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_roberta, tiny_switch, tiny_t5, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinyPreference, TinySeq2Seq, TinyTokens
from tests.training.solo.cards import write_card
from tests.training.solo.test_methods_of_peft import (
    BATCH,
    HEAD_RATE,
    POINTS,
    RATE,
    SEED,
    assert_equal,
    context_of,
    reports,
)

PREFIX = "base_model.model."
WEIGHTS = "adapter_model.safetensors"
SETTINGS: dict[str, ParamValue] = {"method": FULL, "batch_size": BATCH, "max_length": 32, "weight_decay": 0.1}
RATES: dict[str, ParamValue] = {"learning_rate": RATE, "head_learning_rate": HEAD_RATE}
TASK = TrialTask(number=0, settings=TrialSettings.from_params(SETTINGS | RATES), seed=SEED)
"""A language model has no head of its own, so the rate of the head has no effect on it."""


@pytest.mark.parametrize(
    ("write", "objective"),
    [
        (tiny_roberta, TinyClassification()),  # a head of two layers
        (tiny_bert, TinyTokens()),
        (tiny_bert, TinyAnswers()),
        (tiny_gpt2, TinyCausal()),  # tied weights
        (tiny_gpt2, TinyPreference()),  # compares with the base model as it was
        (tiny_t5, TinySeq2Seq()),  # one weight in four modules
        (tiny_switch, TinySeq2Seq()),  # experts; tied weights scale its logits
    ],
    ids=["classes", "tokens", "answers", "causal", "preference", "seq2seq", "experts"],
)
def test_full_equals_plain_transformers_and_resumes_exactly(
    write: Callable[[Path], Path], objective: Objective, tmp_path: Path
) -> None:
    model = without_dropout(write(tmp_path / "model"))
    context = context_of(model, objective, tmp_path)
    engine = SoloEngine(context)
    whole = reports(engine, TASK)
    adapter = tmp_path / str(whole[-1].checkpoint) / "adapter"
    saved = load_file(adapter / WEIGHTS)
    plain = plain_training(model, objective, context.data.train(TASK))
    expected = dict(plain.named_parameters(remove_duplicate=False))
    assert saved.keys() == {f"{PREFIX}{name}" for name in expected}
    for name, tensor in expected.items():
        torch.testing.assert_close(saved[f"{PREFIX}{name}"], tensor.detach(), atol=1e-5, rtol=1e-4)
    measured = engine.measure(adapter, TASK, "validation")  # loaded by PeftModel.from_pretrained
    assert measured.metrics["loss"] == pytest.approx(whole[-1].metrics["val/loss"], abs=1e-6)
    engine.close()
    merged = exported(adapter, model, objective, tmp_path / "merged")
    assert {name for name, _ in merged.named_parameters()} == {name for name, _ in plain.named_parameters()}  # tied
    shutil.rmtree(tmp_path / str(whole[-1].checkpoint))  # killed after its first report
    again = SoloEngine(context_of(model, objective, tmp_path))
    assert learned(reports(again, TASK)[-1]) == learned(whole[-1])
    assert_equal(load_file(adapter / WEIGHTS), saved)
    again.close()


def test_plan_states_memory_and_disk(tmp_path: Path) -> None:
    context = context_of(tiny_roberta(tmp_path / "model"), TinyClassification(), tmp_path)
    plan = replace(context.plan, tried=({"method": FULL},), largest={"batch_size": BATCH, "max_length": 32})
    [note] = check_adapters(plan, TinyClassification())
    assert note.startswith("full trains all 0.0M weights in the solo engine: 0.00 GB for weights, gradients and AdamW")
    assert "on disk for each running trial" in note


def exported(adapter: Path, model: Path, objective: Objective, folder: Path) -> Any:
    """Return the model of a plain transformers folder; the export compares its logits with the adapter's."""
    card = write_card(adapter, model, objective, samples=POINTS[-1], method=FULL)
    export_merged(adapter, card, folder)
    return getattr(transformers, AUTO_CLASSES[objective.head]).from_pretrained(folder)


def plain_training(model: Path, objective: Objective, rows: Sequence[Example]) -> Any:
    """Return the model after the same updates with plain transformers and AdamW."""
    set_seed(SEED)
    auto: Any = getattr(transformers, AUTO_CLASSES[objective.head])
    labels = {"num_labels": len(objective.labels), "ignore_mismatched_sizes": True} if objective.labels else {}
    plain = auto.from_pretrained(model, attn_implementation="eager", **labels)
    tokenizer = AutoTokenizer.from_pretrained(model)
    order = data_order([len(row["input_ids"]) for row in rows], BATCH, len(POINTS), SEED)
    groups = []
    for name, parameter in plain.named_parameters():
        rate = HEAD_RATE if name.startswith(("classifier.", "qa_outputs.")) else RATE
        groups.append({"params": [parameter], "lr": rate, "weight_decay": 0.1 if parameter.dim() > 1 else 0.0})
    adamw = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, lambda update: 1 - update / len(POINTS))
    plain.train()
    for indices in order:
        batch = objective.collate([rows[index] for index in indices], tokenizer)
        sums, units = objective.losses(forward(plain, batch), batch, 0.0)
        (sums.sum() / units.sum()).backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        adamw.step()
        schedule.step()
        adamw.zero_grad()
    return plain.eval()
