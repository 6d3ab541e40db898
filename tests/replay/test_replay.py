"""Replays of tables: real searches over recorded trials in simulated time."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.cluster.inline import InlineExecutor
from orchestrator.core.errors import SpecError, UserError
from orchestrator.core.metric import Direction
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.core.sweeps.policy import SamplerName, SamplerPolicy, StoppingName, StoppingPolicy
from orchestrator.core.trials.trial import Action, TrialState
from orchestrator.objective.loading import objective_facts
from orchestrator.replay.replay import Replayed, in_recorded_order, replay, replay_plan, search_plan
from orchestrator.replay.summary import configuration_values
from orchestrator.replay.table import TrialTable
from orchestrator.replay.task import DIRECTIONS, spec_of
from tests.cluster.fake_sweep import METRIC, FakeSweep, decisions
from tests.cluster.fake_sweep import POINTS as FAKE_POINTS
from tests.fakes.fake_engine import FakeEngineFactory
from tests.replay.tables import ACCURACY, POINTS, height, made_table, recorded_table

ASHA = ("early_stopping.rule=asha", "early_stopping.grace_samples=100")


def replayed(table: TrialTable, *overrides: str, seed: int = 0) -> Replayed:
    return replay(table, spec_of(table, overrides), seed)


def later_heights(table: TrialTable, sampler: SamplerName) -> float:
    """Return the mean final accuracy, without noise, of the trials after the model's first ones."""
    plan = replace(search_plan(table, spec_of(table), 0), sampler=SamplerPolicy(name=sampler, startup_trials=8))
    results = [replay_plan(table, replace(plan, seed=seed), 4) for seed in range(3)]
    return statistics.mean(height(record.settings) for result in results for record in result.records[12:])


def test_replay_reports_the_recorded_values() -> None:
    table = made_table(30, replicates=2)
    result = replayed(table, "budget.trials=8")
    assert len(result.records) == 8
    for record in result.records:
        recorded = result.recorded[record.number]
        assert record.params == recorded.params
        assert [r.metrics for r in record.reports] == [r.metrics for r in recorded.reports]
        assert record.state is TrialState.COMPLETE
        assert record.final == {"shift/other/accuracy": 0.5}
    assert result.samples == 8 * POINTS[-1]
    assert result.reason == "all 8 trials were started"
    assert result.unknown == ()


def test_same_seed_gives_the_same_replay() -> None:
    table = made_table(40, replicates=2)
    overrides = ("search.sampler=tpe", *ASHA)
    first, again, other = (replayed(table, *overrides, seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first.records != other.records


def test_model_proposes_better_trials_than_chance() -> None:
    table = made_table(300)
    by_model = later_heights(table, SamplerName.TPE)
    assert by_model > later_heights(table, SamplerName.RANDOM) + 0.01
    assert by_model > later_heights(table, SamplerName.GRID) + 0.01


def test_grid_tries_every_configuration() -> None:
    table = made_table(20)
    plan = search_plan(table, spec_of(table, ["budget.trials=50"]), 0)
    result = replay_plan(table, replace(plan, sampler=SamplerPolicy(name=SamplerName.GRID)), 4)
    assert {trial.number for trial in result.recorded.values()} == set(range(20))
    assert result.winner is not None
    scores = [trial.reports[-1].metrics["val/accuracy"] for trial in table.trials]
    assert result.winner.score(ACCURACY) == max(scores)


def test_stopping_saves_samples_and_keeps_the_winner() -> None:
    table = made_table(60)
    whole = replayed(table, "budget.trials=30")
    stopped = replayed(table, "budget.trials=30", *ASHA)
    assert whole.winner is not None
    assert stopped.winner is not None
    assert {record.number for record in stopped.stopped} <= set(range(30))
    assert stopped.samples < whole.samples / 2
    assert height(stopped.winner.settings) > height(whole.winner.settings) - 0.01


def test_trajectory_ends_with_the_winner() -> None:
    result = replayed(made_table(40), *ASHA)
    assert [step.score for step in result.trajectory] == sorted(step.score for step in result.trajectory)
    assert [step.samples for step in result.trajectory] == sorted(step.samples for step in result.trajectory)
    assert result.winner is not None
    assert result.trajectory[-1].trial == result.winner.number
    assert result.trajectory[-1].samples <= result.samples


def test_time_is_simulated() -> None:
    """Every recorded report takes 4 s for 100 samples; four trials at once are four times as fast."""
    result = replayed(made_table(40), "budget.trials=8")
    assert result.seconds == pytest.approx(8 * 12 * 4 / 4)
    limited = replayed(made_table(40), "budget.trials=8", "budget.wall_time=60")
    assert limited.reason == "the wall time of 1 min is spent"
    assert limited.seconds == pytest.approx(60, abs=16)


def test_seed_chooses_the_replicate() -> None:
    table = made_table(10, replicates=3)
    chosen = {replayed(table, "budget.trials=1", seed=seed).recorded[0].seed % 10 for seed in range(8)}
    assert len(chosen) > 1


@pytest.mark.parametrize("engine", list(EngineName))
@pytest.mark.parametrize("rule", [StoppingName.ASHA, StoppingName.HYPERBAND, StoppingName.MEDIAN])
def test_own_rule_makes_the_recorded_decisions(tmp_path: Path, rule: StoppingName, engine: EngineName) -> None:
    slots = 3 if engine is EngineName.PACKED else 1
    sweep = FakeSweep(folder=tmp_path, trials=9, rule=rule, engine=engine, sampler=SamplerName.TPE)
    records = sweep.run(InlineExecutor(FakeEngineFactory()), parallel=slots)
    table = recorded_table(records, METRIC, FAKE_POINTS)
    for plan in (sweep.search_plan, in_recorded_order(table, sweep.search_plan)):
        result = replay_plan(table, plan, slots)
        assert decisions(result.records) == decisions(records)
        assert [record.params for record in result.records] == [record.params for record in records]
        assert result.unknown == ()


def test_another_rule_says_what_is_unknown(tmp_path: Path) -> None:
    sweep = FakeSweep(folder=tmp_path, trials=9)
    records = sweep.run(InlineExecutor(FakeEngineFactory()))
    table = recorded_table(records, METRIC, FAKE_POINTS)
    stopped = {record.number for record in records if record.state is TrialState.PRUNED}
    plan = replace(sweep.search_plan, stopping=StoppingPolicy(rule=StoppingName.NONE, patience=None))
    result = replay_plan(table, in_recorded_order(table, plan), 1)
    assert set(result.unknown) == stopped
    assert result.stopped == ()
    for number in result.unknown:
        assert len(result.records[number].reports) == len(records[number].reports)
        assert "unknown beyond" in (result.records[number].reason or "")


def test_recorded_divergence_fails_again(tmp_path: Path) -> None:
    sweep = FakeSweep(folder=tmp_path, trials=4, rule=StoppingName.NONE)
    records = sweep.run(InlineExecutor(FakeEngineFactory(diverges=frozenset({2}))))
    table = recorded_table(records, METRIC, FAKE_POINTS)
    result = replay_plan(table, in_recorded_order(table, sweep.search_plan), 2)
    assert [record.state for record in result.records] == [record.state for record in records]
    assert result.records[2].reason == records[2].reason
    assert result.samples == 3 * FAKE_POINTS[-1] + FAKE_POINTS[1]


def test_decisions_are_kept_in_order() -> None:
    result = replayed(made_table(30), *ASHA, "budget.trials=12")
    by_record = [decision for record in result.records for decision in record.decisions.values()]
    assert len(result.decisions) == len(by_record)
    assert all(decision in by_record for decision in result.decisions)
    assert any(decision.action is Action.STOP for decision in result.decisions)


def test_fewer_reports_are_possible_and_others_refused() -> None:
    table = made_table(20)
    result = replayed(table, "early_stopping.reports=6", "budget.trials=4")
    assert [report.nominal_samples for report in result.records[0].reports] == [200, 400, 600, 800, 1000, 1200]
    with pytest.raises(UserError, match="has no report at 240, 480, 720, 960 samples; recorded report points: 100"):
        replayed(table, "early_stopping.reports=5")


def test_narrower_space_leaves_configurations_out() -> None:
    table = made_table(60)
    result = replayed(table, "search.space.rank={choices: [8]}", "budget.trials=40")
    assert {record.settings.rank for record in result.records} == {8}
    assert len(result.records) == sum(trial.settings.rank == 8 for trial in table.trials)
    with pytest.raises(UserError, match="no recorded trial of made is in the search space"):
        replayed(table, "training.batch_size=32")


def test_wrong_override_is_refused() -> None:
    with pytest.raises(SpecError, match=r"--set search.sampler=tpee"):
        spec_of(made_table(2), ["search.sampler=tpee"])


def test_unknown_direction_is_refused() -> None:
    table = made_table(4)
    reports = [
        tuple(replace(report, metrics={**report.metrics, "val/mae": 0.1}) for report in trial.reports)
        for trial in table.trials
    ]
    own = tuple(replace(trial, reports=found) for trial, found in zip(table.trials, reports, strict=True))
    with pytest.raises(UserError, match=r"early_stopping.metric: table made does not hold the direction of val/mae"):
        spec_of(replace(table, trials=own), ["early_stopping.metric=val/mae"])
    assert spec_of(replace(table, trials=own), ["early_stopping.metric=val/loss"]).stopping.metric is not None


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "objectives").glob("[a-z]*.py")), ids=lambda file: file.stem
)
def test_directions_of_shipped_metrics_are_known(file: Path) -> None:
    facts = objective_facts(file.stem)
    assert facts.metrics.items() <= DIRECTIONS.items()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("budget:", "preference: {loss: dpo, beta: 0.2}\nbudget:"),
        ("budget:", "generation: {rows: 4}\nbudget:"),
        ("max_length: 64", "max_length: 64, general: ./absent.txt"),
        ("  sampler: random", "  sampler: random\n  constraints: {shift/other/accuracy: {min: 0.4}}"),
        ("  sampler: random", "  metrics: [val/accuracy, shift/other/accuracy, forgetting/loss]"),
    ],
)
def test_sections_of_every_task_are_replayed(old: str, new: str) -> None:
    table = made_table(2)
    spec = spec_of(replace(table, spec_text=table.spec_text.replace(old, new)))
    directions = {each.name: each.direction for each in spec.metric.metrics}
    assert directions.get("shift/other/accuracy", Direction.MAXIMIZE) is Direction.MAXIMIZE


def test_failed_trial_leaves_test_regret() -> None:
    table = made_table(6)
    failed = replace(table.trials[0], state=TrialState.FAIL, test={})
    metric, values = configuration_values(replace(table, trials=(failed, *table.trials[1:])))
    assert metric == "test/accuracy"
    assert len(values) == 5
    unrecorded = replace(table.trials[1], test={})
    assert configuration_values(replace(table, trials=(unrecorded, *table.trials[2:])))[0] == "val/accuracy"


def test_replay_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_HOME", str(tmp_path / "home"))
    table = made_table(30)
    assert len(replay_plan(table, search_plan(table, spec_of(table), 0), 4).records) == 24
    assert not (tmp_path / "home").exists()
