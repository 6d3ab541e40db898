"""The baseline of a generative task is the untuned model, without examples and with three training rows."""

import math
from pathlib import Path

import pytest

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.generation import GENERATION_METRICS, GenerationPlan
from orchestrator.evaluation.measure import measure
from orchestrator.training.answers import baseline_metrics, with_examples
from orchestrator.training.model.base_model import load_base
from tests.fakes.tiny_models import tiny_llama
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, tiny_splits
from tests.training.packed.packs import MADE_UP


def test_untuned_model_answers_with_both_prompts(tmp_path: Path) -> None:
    source = Source(origin=Origin.LOCAL, name=str(tiny_llama(tmp_path / "model")))
    plan = EnginePlan(
        objective="made up",
        model=source,
        data=DataPlan(source=MADE_UP, train=20, validation=6, test=5, train_eval=4),
        report_points=(20,),
        sweep_dir=str(tmp_path),
        metric="val/loss",
        largest={"max_length": 12},
        generation=GenerationPlan(max_new_tokens=3, rows=4, test_rows=5),
    )
    splits, objective = tiny_splits(plan.data), TinyCausal()
    found = baseline_metrics(plan, objective, splits)
    plain = {f"{split}/{name}" for split in ("val", "test") for name in GENERATION_METRICS}
    assert found.keys() >= plain | {f"untuned_0/{name}" for name in plain}
    best = max(found["untuned_0/val/rouge_l"], found.get("untuned_3/val/rouge_l", 0.0))
    assert found["val/rouge_l"] == best
    assert found["test/perplexity"] == pytest.approx(math.exp(found["test/loss"]))  # of the untuned model
    base, tokenizer = load_base(source, objective, "cpu").model, load_tokenizer(source)
    own = measure(base, objective, objective.encode(splits.validation, tokenizer, 12), tokenizer)
    assert found["val/loss"] == pytest.approx(own.metrics["loss"])
    prompted, length = with_examples(objective, splits, tokenizer, 12, 3)
    assert isinstance(prompted, TinyCausal)
    assert prompted.prompt.count("{text}") == 1
    for target in splits.train["headline"][:3]:
        assert f"\n{target}\n\n" in prompted.prompt
    without, with_three = (each.prompts(splits.test, tokenizer, 99)[0] for each in (objective, prompted))
    assert length - 12 == len(with_three) - len(without)
    assert baseline_metrics(plan, TinyClassification(), splits).keys().isdisjoint(plain)
