"""A driver may die before any commit: the result of the sweep is the same."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from orchestrator.core.sweeps.policy import Budget, Confirmation, SamplerName, StoppingName, StoppingPolicy, Until
from orchestrator.core.trials.trial import Report, TrialRecord
from orchestrator.search.plan import SearchPlan
from tests.search.worlds import (
    GRID,
    Killed,
    coordinator_of,
    curve,
    essence,
    killed_before_commit,
    plan_of,
    report_of,
    run_out,
)

Measure = Callable[[TrialRecord, int], Report]
NO_RULE = StoppingPolicy(rule=StoppingName.NONE)


def each(often: int, seldom: int) -> pytest.MarkDecorator:
    """Commits between two kills. The seldom kills show the same at other places of a sweep."""
    return pytest.mark.parametrize("every", [often, pytest.param(seldom, marks=pytest.mark.extended)])


def study_of(folder: Path) -> list[tuple[object, ...]]:
    study = optuna.load_study(study_name="sentiment#1", storage=f"sqlite:///{folder / 'ledger.db'}")
    return [(t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs) for t in study.get_trials()]


def uninterrupted(
    folder: Path, plan: SearchPlan, measure: Measure = curve
) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    folder.mkdir()
    coordinator = coordinator_of(folder, plan)
    run_out(coordinator, measure)
    return essence(coordinator), study_of(folder)


def killed_again_and_again(folder: Path, plan: SearchPlan, every: int, measure: Measure = curve) -> int:
    """Run a sweep in processes killed after a number of commits; return the number of kills."""
    folder.mkdir()
    coordinator_of(folder, plan)  # the first process creates the tables
    deaths = 0
    while True:
        try:
            with killed_before_commit(every):
                run_out(coordinator_of(folder, plan), measure)
        except Killed:
            deaths += 1
        else:
            return deaths


@each(7, 10)
def test_kill_at_every_commit_changes_no_result(tmp_path: Path, every: int) -> None:
    plan = plan_of(trials=4, sampler=SamplerName.TPE, start=({"learning_rate": 2e-4, "rank": 16},))
    expected = uninterrupted(tmp_path / "whole", plan)
    deaths = killed_again_and_again(tmp_path / "killed", plan, every)
    assert deaths > 2
    assert (essence(coordinator_of(tmp_path / "killed", plan)), study_of(tmp_path / "killed")) == expected


@pytest.mark.parametrize("sampler", list(SamplerName))
def test_interruption_does_not_change_proposals(tmp_path: Path, sampler: SamplerName) -> None:
    space = GRID if sampler is SamplerName.GRID else plan_of().space
    plan = plan_of(space=space, trials=6, sampler=sampler)
    expected = uninterrupted(tmp_path / "whole", plan)
    assert killed_again_and_again(tmp_path / "killed", plan, 31) > 0
    assert (essence(coordinator_of(tmp_path / "killed", plan)), study_of(tmp_path / "killed")) == expected


@pytest.mark.parametrize("rule", list(StoppingName))
def test_kills_change_no_decision(tmp_path: Path, rule: StoppingName) -> None:
    plan = plan_of(trials=5, stopping=StoppingPolicy(rule=rule, reduction_factor=2))
    expected = uninterrupted(tmp_path / "whole", plan)
    assert killed_again_and_again(tmp_path / "killed", plan, 29) > 0
    assert (essence(coordinator_of(tmp_path / "killed", plan)), study_of(tmp_path / "killed")) == expected


def test_kills_do_not_move_the_end_without_gain(tmp_path: Path) -> None:
    """The reason is not stored: each process finds it again, and judges the waiting trials as before."""
    budget = Budget(trials=20, until=Until.NO_EXPECTED_GAIN)
    plan = plan_of(budget=budget, stopping=StoppingPolicy(reduction_factor=2), reports=3)

    def equal(record: TrialRecord, samples: int) -> Report:
        return report_of(record.number, samples, 0.8)

    expected = uninterrupted(tmp_path / "whole", plan, equal)
    assert len(expected[0]) < 20
    assert killed_again_and_again(tmp_path / "killed", plan, 23, equal) > 2
    resumed = coordinator_of(tmp_path / "killed", plan)
    assert (essence(resumed), study_of(tmp_path / "killed")) == expected
    assert "no further trial is expected to help" in (resumed.exhausted_reason or "")


@each(11, 17)
def test_kills_change_no_fresh_training(tmp_path: Path, every: int) -> None:
    plan = plan_of(trials=4, reports=2, confirm=Confirmation(top=2, seeds=2))
    expected = uninterrupted(tmp_path / "whole", plan)
    assert len(expected[0]) == 4 + 4
    assert killed_again_and_again(tmp_path / "killed", plan, every) > 2
    assert (essence(coordinator_of(tmp_path / "killed", plan)), study_of(tmp_path / "killed")) == expected


@each(12, 19)
def test_kill_among_repeated_proposals_changes_nothing(tmp_path: Path, every: int) -> None:
    plan = plan_of(space=GRID, trials=12, sampler=SamplerName.RANDOM, stopping=NO_RULE, reports=1)
    expected = uninterrupted(tmp_path / "whole", plan)
    assert len(expected[1]) > len(expected[0]), "the study also holds the repeated proposals"
    assert killed_again_and_again(tmp_path / "killed", plan, every) > 2
    assert (essence(coordinator_of(tmp_path / "killed", plan)), study_of(tmp_path / "killed")) == expected


def small_memory(record: TrialRecord, samples: int) -> Report:
    """Train batches below 16 rows and ranks below 8; memory does not suffice for others."""
    if record.settings.batch_size > 16 or record.settings.rank > 8:
        raise MemoryError
    return curve(record, samples)


@each(13, 20)
@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.RANDOM])
def test_kill_changes_no_deferred_proposal(tmp_path: Path, sampler: SamplerName, every: int) -> None:
    plan = plan_of(trials=10, sampler=sampler, stopping=NO_RULE, reports=1)
    expected = uninterrupted(tmp_path / "whole", plan, small_memory)
    assert any("expected to run out of memory" in str(trial) for trial in expected[1])
    assert killed_again_and_again(tmp_path / "killed", plan, every, small_memory) > 2
    assert (essence(coordinator_of(tmp_path / "killed", plan)), study_of(tmp_path / "killed")) == expected
