"""Full fine-tuning beside LoRA, from a sweep file to predictions of plain transformers."""

import threading
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from orchestrator.cli.app import make_app
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.gates import Gates
from orchestrator.objective.loading import load_objective
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.serving.bases import BaseModels
from orchestrator.serving.predictor import Predictor
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import connect, locate
from orchestrator.training.model.base_model import load_adapted
from tests.fakes.tiny_sweep import tiny_sweep

pytestmark = pytest.mark.usefixtures("own_stores")

OVERRIDES = (
    (
        "search.space={method: {choices: [lora, full]}, rank: {choices: [2, 4], when: {method: lora}}, "
        "learning_rate: {low: 1.0e-3, high: 1.0e-2, log: true}}"
    ),
    "search.start=[{method: lora}, {method: full}]",
    "data.general=./texts.csv",
    "tracking.keep_adapters=2",
)


def test_full_is_searched_promoted_exported_and_served(tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "model")  # trained weights are float32 nevertheless
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"text {i} of {i % 7} words\n" for i in range(30)))
    spec = read_spec(file, OVERRIDES)
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    lora, full = done.records
    assert [trial.settings.method for trial in (lora, full)] == ["lora", "full"]
    assert "rank" not in full.params
    assert full.final.keys() == lora.final.keys() >= {"test/accuracy", "forgetting/similarity"}
    assert full.final["forgetting/similarity"] < 0.9999  # the base model is compared as it was

    location, stored = locate(spec.tracking), stored_sweep("tiny")
    chosen = stored.candidates().choose(full.number)
    weights = sum(
        p.numel() for p in AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").parameters()
    )
    assert chosen.size_bytes is not None
    assert chosen.size_bytes >= 4 * weights
    small = PromotionRequest(name="tiny", metric=spec.metric, gates=Gates(size_bytes=4 * weights - 1))
    with pytest.raises(UserError, match="size"):
        promote(stored.sweep, chosen, location, small)
    for number in (full.number, lora.number):
        request = PromotionRequest(name="tiny", metric=spec.metric, forced="a test")
        promote(stored.sweep, stored.candidates().choose(number), location, request)

    bases, texts = BaseModels(), ["the film was good", "the plot was sad"]
    served = [Predictor.load(f"tiny/{version}", location, bases=bases) for version in (1, 2)]
    probabilities = [[each.probabilities for each in predictor.predict(texts)] for predictor in served]
    assert probabilities[0] != probabilities[1]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    for trial, found in zip((full, lora), probabilities, strict=True):
        adapter = stored.candidates().choose(trial.number).adapter
        source = Source(origin=Origin.LOCAL, name=str(tmp_path / "model"))
        with torch.inference_mode():  # as the kept adapters are measured
            measured = load_adapted(source, load_objective("sentiment"), "cpu", adapter)(**encoded).logits.softmax(-1)
        assert [[*row.values()] for row in found] == [pytest.approx(row, abs=1e-5) for row in measured.tolist()]
    alone = [Predictor.load(f"tiny/{version}", location).predict(texts) for version in (1, 2)]
    assert [[each.probabilities for each in answers] for answers in alone] == probabilities

    command = ["registry", "export", "tiny/1", str(tmp_path / "plain"), "--tracking-uri", location.tracking_uri]
    exported = CliRunner().invoke(make_app(), command, catch_exceptions=False)
    assert "model.safetensors" in exported.stdout
    with pytest.raises(UserError, match=r"--plain-scaling .* but full fine-tuning has no adapter"):
        CliRunner().invoke(make_app(), [*command, "--plain-scaling"], catch_exceptions=False)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "plain").eval()
    trained = load_file(chosen.adapter / "adapter_model.safetensors")
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, trained[f"base_model.model.{name}"])
    for candidate in (chosen, stored.candidates().choose(lora.number)):
        folder = export_adapter(candidate, tmp_path / f"adapter-{candidate.trial.number}")
        assert 'dtype="float32"' in (folder / "README.md").read_text()
    merged = [*command[:2], "tiny/2", str(tmp_path / "merged"), "--merge", *command[4:]]
    CliRunner().invoke(make_app(), merged, catch_exceptions=False)
    for name, answers in zip(("plain", "merged"), probabilities, strict=True):
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / name).eval()
        with torch.inference_mode():
            rows = model(**encoded).logits.softmax(-1).tolist()
        for row, answer in zip(rows, answers, strict=True):
            assert answer == pytest.approx(dict(zip(model.config.id2label.values(), row, strict=True)), abs=1e-5)

    connect(location)
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.set_registry_uri(location.registry_uri)
    for version, expected in enumerate(probabilities, start=1):
        answered: Any = mlflow.pyfunc.load_model(f"models:/tiny/{version}").predict(pd.DataFrame({"text": texts}))
        assert [*answered["probabilities"]] == [pytest.approx(row, abs=1e-5) for row in expected]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("quantisation=nf4", r"quantisation=nf4 supports the methods lora, .*, got full"),
        ("training.deepspeed=zero2", r"training\.deepspeed supports the methods lora, .*, got full"),
        ("adapter.rank=8", r"applies only to lora, .* the method is full"),
    ],
)
def test_unsupported_setting_is_refused(override: str, message: str, tmp_path: Path) -> None:
    file = tiny_sweep(tmp_path)
    overrides = ("adapter.method=full", "search.space={learning_rate: {low: 1.0e-5, high: 1.0e-4, log: true}}")
    with pytest.raises(UserError, match=message):
        read_spec(file, (*overrides, override))
