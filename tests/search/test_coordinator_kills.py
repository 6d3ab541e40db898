"""A driver may die before any commit: the result of the sweep is the same."""

from pathlib import Path

import optuna
import pytest

from orchestrator.core.policy import SamplerName, StoppingName, StoppingPolicy
from orchestrator.search.plan import SearchPlan
from tests.search.worlds import GRID, Killed, coordinator_of, essence, killed_before_commit, plan_of, run_out


def study_of(folder: Path) -> list[tuple[object, ...]]:
    study = optuna.load_study(study_name="sentiment#1", storage=f"sqlite:///{folder / 'ledger.db'}")
    return [(t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs) for t in study.get_trials()]


def uninterrupted(folder: Path, plan: SearchPlan) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    folder.mkdir()
    coordinator = coordinator_of(folder, plan)
    run_out(coordinator)
    return essence(coordinator), study_of(folder)


def killed_again_and_again(folder: Path, plan: SearchPlan, every: int) -> int:
    """Run a sweep in processes killed after a number of commits; return the number of kills."""
    folder.mkdir()
    coordinator_of(folder, plan)  # the first process creates the tables
    deaths = 0
    while True:
        try:
            with killed_before_commit(every):
                run_out(coordinator_of(folder, plan))
        except Killed:
            deaths += 1
        else:
            return deaths


@pytest.mark.parametrize("every", [7, 10])
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
