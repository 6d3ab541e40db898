"""Extractive question answering trains alike in both engines, resumes exactly, and plain libraries agree."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.objective.extractive_qa.extractive_qa import END, START
from orchestrator.objective.windows import rows_of
from orchestrator.training.checks.rehearsal import rehearse
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.solo.engine import SoloEngine
from tests.fakes.tiny_answers import TinyAnswers
from tests.fakes.tiny_models import tiny_bert, without_dropout
from tests.training.packed.packs import task
from tests.training.plans import reports, tiny_plan

POINTS = (16, 40)
TRIALS = [task(0, epochs=1.0, learning_rate=1e-2), task(1, epochs=1.0, batch_size=4, learning_rate=3e-3)]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> EnginePlan:
    folder = without_dropout(tiny_bert(tmp_path_factory.mktemp("model") / "model"))
    return tiny_plan(folder, tmp_path_factory.mktemp("sweep"), report_points=POINTS, metric="val/f1")


def test_both_engines_and_plain_libraries_agree(plan: EnginePlan, tmp_path: Path) -> None:
    objective = TinyAnswers()
    assert rehearse(objective, objective.splits(plan.data), plan) is None
    solo = reports(SoloEngine(EngineContext(plan, objective)), TRIALS, POINTS)
    plan = replace(plan, sweep_dir=str(tmp_path))
    engine = MixedEngine(EngineContext(plan, objective))
    assert engine.capacity(2, measure=False).packs
    reports(engine, TRIALS, POINTS[:1])
    packed = reports(MixedEngine(EngineContext(plan, objective)), TRIALS, POINTS)  # resumed from its first report
    tokenizer = AutoTokenizer.from_pretrained(plan.model.name)
    examples = objective.encode(objective.splits(plan.data).validation, tokenizer, 32)
    assert len(rows_of(examples)) == 20 < len(examples)
    for one, other, trial in zip(solo, packed, TRIALS, strict=True):
        assert {f"val/{name}" for name in objective.metrics} <= one[0].keys()
        for mine, theirs in zip(one, other, strict=True):
            assert theirs == pytest.approx(mine, rel=1e-3, abs=1e-5, nan_ok=True)
        adapter = tmp_path / f"trials/000{trial.number}/checkpoint-40/adapter"
        base = AutoModelForQuestionAnswering.from_pretrained(plan.model.name)
        plain = PeftModel.from_pretrained(base, str(adapter)).eval()
        losses = []
        for example in examples:  # one by one: transformers' loss depends on the padding
            batch = objective.collate([example], tokenizer)
            labels = batch.pop("labels")
            places = [((labels & bit) > 0).int().argmax(1) for bit in (START, END)]
            with torch.no_grad():
                losses.append(float(plain(**batch, start_positions=places[0], end_positions=places[1]).loss))
        assert sum(losses) / len(losses) == pytest.approx(other[1]["val/loss"], rel=1e-4)


def test_rows_are_measured_over_their_windows(plan: EnginePlan, tmp_path: Path) -> None:
    objective = TinyAnswers()
    engine = SoloEngine(EngineContext(replace(plan, sweep_dir=str(tmp_path)), objective))
    with closing(engine), closing(engine.start(TRIALS[0])) as run:
        checkpoint = tmp_path / str(run.advance(16).checkpoint)
        measured = engine.measure(checkpoint, TRIALS[0], "test")
        data = engine._context.data
        examples = data.split("test", 32)
    rows = measured.rows
    assert len(rows.losses) == len(rows.scores["f1"]) == 12
    assert [*rows.units] == [len(places) for places in rows_of(examples)]
    assert measured.metrics["loss"] == pytest.approx(sum(rows.losses) / sum(rows.units))
    assert measured.metrics["f1"] == pytest.approx(sum(rows.scores["f1"]) / 12)
    assert "no_answer_margin" in rows.scores
