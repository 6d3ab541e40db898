"""Output of ``sweep --dry-run``: engine, data, notes and cost."""

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
    compared="val/loss",
    rows={"train": 256},
    parallel_trials=1,
    engine="solo",
    why="DeepSpeed trains one model in a process",
)


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (
            EngineName.PACKED,
            "solo, one trial at a time: DeepSpeed trains one model in a process",
        ),
        (EngineName.SOLO, "solo: one process per trial; DeepSpeed with ZeRO-2"),
    ],
)
def test_plan_names_deepspeed_configuration(engine: EngineName, message: str) -> None:
    path = ROOT / "sweeps" / "sentiment-smoke.yaml"
    spec = load_spec(path, objective_facts=objective_facts, packaged=CATALOGUE)
    spec = replace(spec, resources=replace(spec.resources, engine=engine), deepspeed=NAMED["zero2"])
    assert message in shown(plan_text(spec, PLAN), 160)


def test_plan_shows_range_of_trial_lengths() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    assert "full length 60 to 1,200 samples, by the trial's epochs" in " ".join(
        shown(plan_text(spec, replace(PLAN, ends=(60, 1200))), 160).split()
    )
    assert "ends at" not in shown(plan_text(spec, PLAN), 160)


def test_plan_shows_every_note() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    notes = ("the experts get no adapter", "11 % of the weights are held in 4 bits")
    lines = [" ".join(line.split()) for line in shown(plan_text(spec, replace(PLAN, notes=notes)), 160).splitlines()]
    assert [line for line in lines if line.startswith("note ")] == [f"note {note}" for note in notes]


def test_plan_shows_omitted_rows() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    data = DataSummary(dropped={"blank text": 4}, labels={"0": "negative"}, label_counts={"train": {"negative": 256}})
    message = " ".join(shown(plan_text(spec, replace(PLAN, data_summary=data)), 160).split())
    assert (
        "rows train 256 omitted 4 of 260 rows (blank text: 4) labels 0 → negative classes train negative: 256"
        in message
    )


def test_plan_shows_model_notes() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    plan = replace(PLAN, notes=("org/model: the tokenizer pads with 6",))
    assert "org/model: the tokenizer pads with 6" in shown(plan_text(spec, plan), 160)


def test_plan_shows_cost_as_estimate() -> None:
    spec = load_spec(ROOT / "sweeps" / "sentiment-smoke.yaml", objective_facts=objective_facts, packaged=CATALOGUE)
    plan = replace(PLAN, cost={"trial_tokens": 516.2, "sweep_tokens": 1033.0})
    message = "at most about 516 tokens per trial, 1,033 tokens in the sweep (estimate: four characters per token)"
    assert message in shown(plan_text(spec, plan), 160)
