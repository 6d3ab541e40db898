"""The plan says which engine trains, and why."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.cli.plan_view import plan_text
from orchestrator.core.data import DataSummary
from orchestrator.core.deepspeed import NAMED
from orchestrator.core.plan import EngineName
from orchestrator.objective.loading import objective_facts
from orchestrator.preparation.preview import SweepPlan
from orchestrator.spec.load import load_spec
from tests.report.test_views import shown

ROOT = Path(__file__).parents[2]
PLAN = SweepPlan(
    space=(),
    sampler="tpe",
    stopping="none",
    report_points=(256,),
    ends=(256,),
    rungs=(),
    rows={"train": 256},
    parallel_trials=1,
    engine="solo",
    why="DeepSpeed trains one model in a process",
)


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (EngineName.PACKED, "solo, one after another: DeepSpeed trains one model in a process; DeepSpeed with ZeRO-2"),
        (EngineName.SOLO, "solo: a process for each; DeepSpeed with ZeRO-2"),
    ],
)
def test_with_deepspeed(engine: EngineName, told: str) -> None:
    path = ROOT / "sweeps" / "sentiment-smoke.yaml"
    spec = load_spec(path, objective_facts=objective_facts, packaged=CATALOGUE)
    spec = replace(spec, resources=replace(spec.resources, engine=engine), deepspeed=NAMED["zero2"])
    assert told in shown(plan_text(spec, PLAN), 160)


def test_where_trials_of_different_epochs_end_is_told() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    assert "ends at 60 to 1,200 samples, by a trial's epochs" in " ".join(
        shown(plan_text(spec, replace(PLAN, ends=(60, 1200))), 160).split()
    )
    assert "ends at" not in shown(plan_text(spec, PLAN), 160)


def test_every_note_has_a_line() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    notes = ("the experts get no adapter", "11 % of the weights are held in 4 bits")
    lines = [" ".join(line.split()) for line in shown(plan_text(spec, replace(PLAN, notes=notes)), 160).splitlines()]
    assert [line for line in lines if line.startswith("note ")] == [f"note {note}" for note in notes]


def test_what_is_left_out_of_the_data_is_told() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    data = DataSummary(dropped={"blank text": 4}, labels={"0": "negative"}, label_counts={"train": {"negative": 256}})
    told = " ".join(shown(plan_text(spec, replace(PLAN, data_summary=data)), 160).split())
    assert "rows train 256 left out 4 of 260: blank text 4 labels 0 → negative classes train negative: 256" in told


def test_notes_on_the_model_are_told() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    plan = replace(PLAN, notes=("org/model: the tokenizer pads with 6",))
    assert "org/model: the tokenizer pads with 6" in shown(plan_text(spec, plan), 160)


def test_cost_is_told_as_an_estimate() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    plan = replace(PLAN, cost={"trial_tokens": 516.2, "sweep_tokens": 1033.0})
    told = "at most about 516 trial tokens, 1,033 sweep tokens, at four characters a token"
    assert told in shown(plan_text(spec, plan), 160)
