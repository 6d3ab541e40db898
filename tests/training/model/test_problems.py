"""Several labels per text, regression and text pairs train alike in both engines, and plain libraries agree."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from objectives.multi_label import MultiLabel
from objectives.regression import Regression
from orchestrator.core.data import DataPlan
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.solo.engine import SoloEngine
from tests.fakes.tiny_models import tiny_bert, without_dropout
from tests.fakes.tiny_objective import TinyClassification, tiny_splits
from tests.training.packed.packs import task
from tests.training.plans import reports, tiny_plan


def with_vectors(plan: DataPlan, width: int, scale: float) -> Splits:
    """Return the tiny rows with labels of this width, which depend on the class."""

    def vector(row: Mapping[str, Any]) -> dict[str, list[float]]:
        return {"label": [float(row["label"] == place % 2) * scale for place in range(width)]}

    splits = tiny_splits(plan)
    new = [rows.map(vector, remove_columns=["label"]) for rows in (splits.train, splits.validation, splits.test)]
    return replace(splits, train=new[0], validation=new[1], test=new[2])


class TinyMultiLabel(MultiLabel):
    labels: tuple[str, ...] = ("bad", "good", "poor")

    def splits(self, plan: DataPlan) -> Splits:
        return with_vectors(plan, 3, 1.0)


class TinyRegression(Regression):
    labels: tuple[str, ...] = ("anger",)

    def splits(self, plan: DataPlan) -> Splits:
        return with_vectors(plan, 1, 2.5)


class TinyTargets(Regression):
    labels: tuple[str, ...] = ("anger", "joy")

    def splits(self, plan: DataPlan) -> Splits:
        return with_vectors(plan, 2, 1.5)


class TinyPairs(TinyClassification):
    name = "tiny-pairs"

    def splits(self, plan: DataPlan) -> Splits:
        splits = tiny_splits(plan)
        train, validation, test = (
            rows.add_column("text_pair", rows["headline"][:]) for rows in (splits.train, splits.validation, splits.test)
        )
        return replace(splits, train=train, validation=validation, test=test)


CASES: list[tuple[Objective, str]] = [
    (TinyMultiLabel(), "multi_label_classification"),
    (TinyRegression(), "regression"),
    (TinyTargets(), "regression"),
    (TinyPairs(), "single_label_classification"),
]


@pytest.mark.parametrize(("objective", "problem"), CASES)
def test_both_engines_and_plain_libraries_agree(objective: Objective, problem: str, tmp_path: Path) -> None:
    folder = without_dropout(tiny_bert(tmp_path / "model"))
    plan = tiny_plan(folder, tmp_path / "solo")
    trials = [task(0, epochs=1.0, learning_rate=1e-2), task(1, epochs=1.0, batch_size=4, learning_rate=3e-3)]

    solo = reports(SoloEngine(EngineContext(plan, objective)), trials)
    engine = MixedEngine(EngineContext(tiny_plan(folder, tmp_path / "packed"), objective))
    assert engine.capacity(2, measure=False).packs
    packed = reports(engine, trials)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = objective.encode(objective.splits(plan.data).validation, tokenizer, 32)
    for (one,), (other,), trial in zip(solo, packed, trials, strict=True):
        assert {f"val/{name}" for name in objective.metrics} <= one.keys()
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5, nan_ok=True)
        adapter = tmp_path / f"packed/trials/000{trial.number}/checkpoint-40/adapter"
        base = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=len(objective.labels), problem_type=problem, ignore_mismatched_sizes=True
        )
        plain = PeftModel.from_pretrained(base, str(adapter)).eval()
        with torch.no_grad():
            loss = float(plain(**objective.collate(rows, tokenizer)).loss)
        assert loss == pytest.approx(other["val/loss"], rel=1e-4)
