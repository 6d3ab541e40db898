"""Output of ``sweep --dry-run``: engine, data, notes and cost."""

from dataclasses import replace

import pytest

from orchestrator.cli.plan_view import plan_text
from orchestrator.core.data import DataSummary
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.policy import Budget
from orchestrator.preparation.preview import SweepPlan
from tests.report.test_views import shown

PLAN = SweepPlan(
    name="sentiment",
    metric=Metric(name="val/accuracy", direction=Direction.MAXIMIZE),
    objective="sentiment",
    model="minilm",
    data="vader-movie",
    budget=Budget(trials=12),
    space=(),
    sampler="tpe",
    stopping="none",
    report_points=(256,),
    ends=(256,),
    rungs=(),
    compared="val/loss",
    length="1 epoch",
    earliest_rung="",
    rows={"train": 256},
    parallel_trials=1,
    engine="solo",
)


@pytest.mark.parametrize(
    ("why", "message"),
    [
        (
            "DeepSpeed trains one model in a process",
            "solo, one trial at a time: DeepSpeed trains one model in a process; DeepSpeed with ZeRO-2",
        ),
        ("", "solo: one process per trial; DeepSpeed with ZeRO-2"),
    ],
)
def test_plan_names_deepspeed_configuration(why: str, message: str) -> None:
    assert message in shown(plan_text(replace(PLAN, why=why, deepspeed="ZeRO-2")), 160)


def test_plan_shows_range_of_trial_lengths() -> None:
    assert "full length 60 to 1,200 samples, by the trial's epochs" in " ".join(
        shown(plan_text(replace(PLAN, ends=(60, 1200))), 160).split()
    )
    assert "ends at" not in shown(plan_text(PLAN), 160)


def test_plan_shows_start_points_and_prior() -> None:
    plan = replace(PLAN, start_points=1, prior="shipped: rank 8 (from measurements)")
    message = " ".join(shown(plan_text(plan), 160).split())
    assert "sampler tpe, start points: 1 prior shipped: rank 8 (from measurements)" in message


def test_plan_shows_every_note() -> None:
    notes = ("the experts get no adapter", "11 % of the weights are held in 4 bits")
    lines = [" ".join(line.split()) for line in shown(plan_text(replace(PLAN, notes=notes)), 160).splitlines()]
    assert [line for line in lines if line.startswith("note ")] == [f"note {note}" for note in notes]


def test_plan_shows_omitted_rows() -> None:
    data = DataSummary(dropped={"blank text": 4}, labels={"0": "negative"}, label_counts={"train": {"negative": 256}})
    message = " ".join(shown(plan_text(replace(PLAN, data_summary=data)), 160).split())
    assert (
        "rows train 256 omitted 4 of 260 rows (blank text: 4) labels 0 → negative classes train negative: 256"
        in message
    )


def test_plan_shows_model_notes() -> None:
    plan = replace(PLAN, notes=("org/model: the tokenizer pads with 6",))
    assert "org/model: the tokenizer pads with 6" in shown(plan_text(plan), 160)


def test_plan_shows_cost_as_estimate() -> None:
    plan = replace(PLAN, cost={"trial_tokens": 516.2, "sweep_tokens": 1033.0})
    message = "at most about 516 tokens per trial, 1,033 tokens in the sweep (estimate: four characters per token)"
    assert message in shown(plan_text(plan), 160)
