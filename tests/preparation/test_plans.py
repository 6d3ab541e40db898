"""The engine plan and the preview of a sweep file."""

from pathlib import Path

import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.preparation.engine_plan import plan_engine
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.preview import SweepPlan, preview
from orchestrator.preparation.request import request_of
from orchestrator.spec.sweep_spec import SweepSpec
from tests.fakes.tiny_objective import tiny_splits
from tests.spec.facts import SMALL, load

KIND = "search.space.{}={{choices: [{}]}}"


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        ([], []),
        (["adapter.method=loha"], []),
        ([KIND.format("dora", "false, true")], [{"dora": False}, {"dora": True}]),
        (
            [KIND.format("method", "ia3, lora"), KIND.format("init", "default, pissa")],
            [{"method": "ia3"}, {"method": "lora", "init": "default"}, {"method": "lora", "init": "pissa"}],
        ),
        (
            [KIND.format("target_modules", "query, value"), "adapter.method=vera"],
            [{"target_modules": "query"}, {"target_modules": "value"}],
        ),
        # What is inactive in a trial has its default there.
        (
            [KIND.format("method", "lora, ia3"), "search.space.dora={value: true, when: {rank: 8}}"],
            [{"method": "lora", "dora": False}, {"method": "ia3"}, {"method": "lora", "dora": True}],
        ),
        (
            [
                KIND.format("method", "lora, ia3"),
                "search.space.target_modules={choices: ['key,value'], when: {method: ia3}}",
            ],
            [
                {"method": "lora", "target_modules": "all-linear"},
                {"method": "ia3", "target_modules": "key,value"},
            ],
        ),
        (["search.space.method={choices: [ia3], when: {rank: 8}}"], [{"method": "lora"}, {"method": "ia3"}]),
    ],
)
def test_trial_kinds_differ_in_used_settings(
    overrides: list[str], kinds: list[dict[str, object]], tmp_path: Path
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    spec = load(file, *overrides)
    plan = plan_engine(spec, len(tiny_splits(spec.data).train))
    assert list(plan.kinds) == kinds


def test_largest_trial_is_possible_and_packed(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL.replace("rank: {choices: [4, 8]}", "method: {choices: [lora, vera]}"))
    sizes = [f"search.space.{name}={{choices: [2, 4], when: {{method: vera}}}}" for name in ("rank", "batch_size")]
    spec = load(file, *sizes)
    plan = plan_engine(spec, len(tiny_splits(spec.data).train))
    assert plan.smallest == plan.largest == {"rank": 16, "batch_size": 16}


def test_longest_trial_may_have_fixed_epochs(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    chosen = "search.space.epochs={low: 0.25, high: 0.5, when: {rank: 8}}"
    spec = load(file, chosen)
    assert spec.samples(100) == 100
    plan = plan_engine(spec, len(tiny_splits(spec.data).train))
    assert plan.timetable.of(TrialSettings.from_params({**spec.fixed, "rank": 4})) == plan.report_points
    assert plan.timetable.of(TrialSettings.from_params({**spec.fixed, "rank": 8, "epochs": 0.5}))[-1] == round(
        plan.report_points[-1] / 2
    )


@pytest.mark.parametrize("constrained", [False, True])
def test_searched_metrics_of_the_end_are_in_all_reports(constrained: bool, tmp_path: Path) -> None:
    """Without it, the first reports would count as within the constraint: a missing metric breaks none."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    (tmp_path / "other.csv").write_text("text,label\na,0\n")
    early = ["data.shift={other: ./other.csv}", "early_stopping.limits={shift/other/loss: {max: 1}}"]
    searched = ["search.constraints={shift/other/accuracy: {min: 0.5}}"] if constrained else []
    spec = load(file, *early, "early_stopping.grace_samples=300", *searched)
    plan = plan_engine(spec, len(tiny_splits(spec.data).train))
    assert plan.early == ("shift/other/loss",)
    assert plan.early_from == (plan.report_points[0] if constrained else 300)
    assert plan.report_points[0] < 300


def test_preview_lists_parameters_and_ends(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL + "data: {train: 100, validation: 20, test: 20}\nresources: {engine: solo}\n")
    overrides = [
        "search.space.epochs={low: 1, high: 3, step: 1, when: {rank: 8}}",
        "search.space.batch_size={low: 4, high: 8}",
        "search.space.dropout={choices: [0, 0.1]}",
        "search.space.rslora={choices: [true, false]}",
        "search.space.alpha={low: 8, high: 32, log: true, when: {dropout: [0, 0.1]}}",
    ]
    plan = planned(load(file, *overrides))
    assert plan.space == (
        ("rank", "one of 4, 8", ""),
        ("epochs", "1 … 3, step 1", "rank = 8"),
        ("batch_size", "4 … 8", ""),
        ("dropout", "one of 0, 0.1", ""),
        ("rslora", "one of true, false", ""),
        ("alpha", "8 … 32, log", "dropout = 0 or 0.1"),
    )
    assert (plan.ends, plan.report_points[-1]) == ((100, 300), 300)


@pytest.mark.parametrize("engine", ["solo", "packed"])
def test_preview_has_adapter_notes_and_refusals(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL + f"data: {{train: 100, validation: 20, test: 20}}\nresources: {{engine: {engine}}}\n")
    overrides = ["search.space.method={choices: [lora, lokr]}", "resources.parallel_trials=1", "early_stopping=none"]
    plan = planned(load(file, *overrides, "search.space.rank={choices: [4, 64]}"))
    assert [note[:35] for note in plan.notes] == ["lokr on all-linear: from rank 12 on"]
    assert plan.computing is not None
    both = [plan.computing.attention, plan.computing.checkpointing]
    assert ["packed engine" in text for text in both] == [engine == "packed"] * 2
    assert ["in the solo engine" in text for text in both] == [engine == "packed"] * 2
    with pytest.raises(UserError, match=r"^adapter\.target_modules: all-linear or names .*; got qeury$"):
        planned(load(file, *overrides, "adapter.target_modules=qeury"))


def test_schedule_of_adalora_fits_into_the_shortest_trial(tmp_path: Path) -> None:
    """Two epochs over 100 rows in batches of 16 are 13 optimizer steps."""
    file = tmp_path / "small.yaml"
    file.write_text(SMALL + "data: {train: 100, validation: 20, test: 20}\nresources: {parallel_trials: 1}\n")
    lengths = ["search.space.epochs={low: 2, high: 4}", "search.space.batch_size={choices: [8, 16]}"]
    overrides = ["adapter.method=adalora", *lengths]
    plan = planned(load(file, *overrides, "adapter.options.tinit=12"))
    assert (plan.engine, plan.why) == ("solo", "packs train only LoRA")
    assert plan.computing is not None
    assert "packed" not in plan.computing.attention + plan.computing.checkpointing
    with pytest.raises(UserError, match=r"adapter\.options\.tinit: .* less than the trial's 13 optimizer steps"):
        planned(load(file, *overrides, "adapter.options.tinit=13"))


def planned(spec: SweepSpec) -> SweepPlan:
    return preview(prepare(request_of(spec), None))
