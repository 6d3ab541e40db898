"""Output of ``sweep --dry-run``: engine, data, notes and cost."""

from dataclasses import replace

import pytest

from orchestrator.cli.plan_view import plan_text
from orchestrator.core.data import DataPlan, DataSummary, Origin, Source
from orchestrator.core.sweeps.plan import EngineName, EnginePlan
from orchestrator.preparation.early_metrics import early_text
from orchestrator.training.process.computing import computing
from tests.report.examples import sweep_plan
from tests.report.test_views import shown

PLAN = sweep_plan()
ROWS = Source(origin=Origin.LOCAL, name="rows.csv")
EARLY = EnginePlan(
    objective="sentiment",
    model=ROWS,
    data=DataPlan(source=ROWS, train=1000, validation=100, test=100, train_eval=50),
    report_points=(250, 500, 750, 1000),
    sweep_dir="",
    metric="val/loss",
    early=("shift/tweets/loss", "forgetting/similarity"),
    early_from=500,
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


def test_plan_shows_choices_of_both_engines() -> None:
    plan = replace(EARLY, engine=EngineName.PACKED, device="cpu")
    message = " ".join(shown(plan_text(replace(PLAN, computing=computing(plan, mixed=True))), 200).split())
    assert "else matrix products; in the solo engine eager, if it gives" in message
    assert "of activations off: the packed engine has none; in the solo engine off: a CPU has memory" in message


def test_plan_shows_range_of_trial_lengths() -> None:
    assert "full length 60 to 1,200 samples, by the trial's epochs" in " ".join(
        shown(plan_text(replace(PLAN, ends=(60, 1200))), 160).split()
    )
    assert "ends at" not in shown(plan_text(PLAN), 160)


def test_plan_states_cost_of_measurements_for_early_stopping() -> None:
    rows = {"train": 1000, "validation": 100, "test": 100, "shift/tweets": 200, "shift/news": 300}
    text = early_text(EARLY, rows, 32.0)
    # 3 x (200 x 32 + 200 x 64) tokens of 3 x 19,200 + 4 x 150 x 32 + 3 x 1,000 x 32
    expected = "200 rows of shift/tweets and up to 200 general texts at 3 of 4 reports, about 33% of a trial's time"
    assert text == f"{expected} (estimate from tokens)"
    assert expected in " ".join(shown(plan_text(replace(PLAN, early=text)), 200).split())
    assert early_text(replace(EARLY, early=()), rows, 32.0) is None


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
