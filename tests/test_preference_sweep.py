"""Preference tuning from a sweep file to predictions, with a searched beta."""

import json
import threading
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from objectives import chat_preference, preference
from orchestrator.core.data import DataPlan, DataSummary, Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.preparation.description import adapters_of
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.serving.predictor import Predictor
from orchestrator.stores import read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import connect, locate
from tests.fakes.tiny_models import tiny_llama

SWEEP = """
name: pairs
objective: preference
model: ./model
data: {source: ./pairs.jsonl, train: 48, validation: 24, test: 24, train_eval: 16, max_length: 24}
training: {epochs: 2, batch_size: 8}
search:
  sampler: random
  space:
    learning_rate: {low: 1.0e-2, high: 3.0e-2, log: true}
    beta: {choices: [0.1, 0.5]}
    loss: {choices: [dpo, dpo_norm]}
early_stopping: {rule: none, reports: 2}
budget: {trials: 2}
resources: {parallel_trials: 2}
tracking: {keep_adapters: 1}
"""


@pytest.mark.usefixtures("own_stores")
def test_pairs_are_searched_registered_and_used(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    words = ("film", "plot", "music", "acting")
    rows = [
        {"prompt": f"the {words[n % 4]} {n} was", "chosen": " good", "rejected": " bad and very sad"}
        for n in range(120)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "pairs.yaml").write_text(SWEEP)
    spec = read_spec(tmp_path / "pairs.yaml", ())
    assert spec.metric.name == "val/preference_accuracy"
    done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
    baseline = done.sweep.facts.baseline or {}
    assert baseline["val/margin"] == baseline["test/margin"] == 0.0
    assert baseline["val/preference_accuracy"] == 0.5
    stored = stored_sweep("pairs")
    candidate = stored.candidates().choose()
    assert candidate.trial.final["test/margin"] > 0.1
    assert candidate.trial.final["test/preference_accuracy"] > 0.5
    location = locate(spec.tracking)
    promote(stored.sweep, candidate, location, PromotionRequest(name="pairs", metric=spec.metric, forced="a test"))
    text = "the film 3 was"
    answer = Predictor.load("pairs", location).predict([text])[0].answer
    assert answer is not None
    connect(location)
    mlflow.set_tracking_uri(location.tracking_uri)
    mlflow.set_registry_uri(location.registry_uri)
    loaded: Any = mlflow.pyfunc.load_model("models:/pairs/1")
    assert loaded.predict(pd.DataFrame({"text": [text]})).iloc[0, 0] == answer


def test_cards_of_conversations_name_their_template() -> None:
    plan = EnginePlan(
        objective="chat_preference",
        model=Source(origin=Origin.PACKAGED, name="smollm2"),
        data=DataPlan(source=chat_preference.OBJECTIVE.default_source),
        report_points=(1,),
        sweep_dir="",
        metric="val/loss",
    )
    metric = Metric(name="val/loss", direction=Direction.MINIMIZE)
    assert adapters_of(plan, chat_preference.OBJECTIVE, metric, DataSummary()).chat
    assert not adapters_of(plan, preference.OBJECTIVE, metric, DataSummary()).chat
