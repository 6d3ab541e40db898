"""The next proposal depends on the trials in the ledger, and not on the order in which their events were committed.

These are the guarantees of docs/concepts/ledger.md.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.policy import SamplerName, SamplerPolicy, StoppingName, StoppingPolicy
from orchestrator.core.trials.trial import OUT_OF_MEMORY
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from tests.search.worlds import POINTS, Killed, coordinator_in_memory, coordinator_of, curve, killed_before_commit
from tests.search.worlds import plan_of as small_plan

SAMPLERS = [name for name in SamplerName if name is not SamplerName.GRID]
TOGETHER = 4
"""Trials opened before the next events."""


def plan_of(name: SamplerName) -> SearchPlan:
    """Return a plan whose sampler uses its model from the fifth proposal on."""
    plan = small_plan(trials=40, sampler=name, stopping=StoppingPolicy(rule=StoppingName.NONE))
    population = 4 if name in (SamplerName.NSGAII, SamplerName.CMAES) else None
    return replace(plan, sampler=SamplerPolicy(name=name, startup_trials=4, population=population))


def events_of(coordinator: Coordinator, number: int, *, running: bool = True) -> list[Callable[[], object]]:
    """Return a trial's events: it completes, is pruned, fails, runs out of memory, or has one report and runs on."""

    def report(samples: int) -> None:
        coordinator.report(curve(coordinator.records()[number], samples))

    ends: list[tuple[int, Callable[[], object] | None]] = [
        (6, partial(coordinator.finish, number, {})),
        (6, partial(coordinator.finish, number, {})),
        (2, partial(coordinator.cut_short, number, "stopped")),
        (3, partial(coordinator.fail, number, "diverged")),
        (0, partial(coordinator.fail, number, f"{OUT_OF_MEMORY}crashed 2 times: MemoryError")),
        (1 if running else 0, None),
        (6, partial(coordinator.finish, number, {})),
    ]
    reports, end = ends[number % len(ends)]
    return [*(partial(report, samples) for samples in POINTS[:reports]), *(() if end is None else (end,))]


def open_trials(coordinator: Coordinator) -> list[int]:
    tasks = [coordinator.next_task() for _ in range(TOGETHER)]
    return [task.number for task in tasks if task is not None]


def proposals(coordinator: Coordinator) -> list[dict[str, ParamValue]]:
    return [dict(trial.params) for trial in coordinator.records()]


def search(
    name: SamplerName, rounds: int, choose: Callable[[int], int], *, running: bool = True
) -> list[dict[str, ParamValue]]:
    """Return the proposals of a search; ``choose`` picks the trial of the next event among ``n`` trials."""
    coordinator = coordinator_in_memory(plan_of(name))
    for _ in range(rounds):
        left = [events_of(coordinator, number, running=running) for number in open_trials(coordinator)]
        while any(left):
            trials = [events for events in left if events]
            trials[choose(len(trials))].pop(0)()
    open_trials(coordinator)
    return proposals(coordinator)


def first(trials: int) -> int:
    assert trials
    return 0


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_order_of_commits_changes_no_proposal(name: SamplerName, data: st.DataObject) -> None:
    choose = data.draw(st.randoms(use_true_random=False))
    rounds = 2 if name is SamplerName.GP else 3  # a GP takes longer
    assert search(name, rounds, choose.randrange) == search(name, rounds, first)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name is not SamplerName.SURROGATE])
def test_reports_of_running_trials_change_no_proposal(name: SamplerName) -> None:
    assert search(name, 3, first, running=True) == search(name, 3, first, running=False)


@pytest.mark.parametrize("name", SAMPLERS)
def test_reopened_sweep_proposes_the_same(tmp_path: Path, name: SamplerName) -> None:
    """A new driver before every round, with its own view of the study."""
    coordinator = coordinator_of(tmp_path, plan_of(name))
    for _ in range(3):
        for number in open_trials(coordinator):
            if number % 7 != 5:  # a trial left running would be resumed before the next proposal
                for event in events_of(coordinator, number):
                    event()
            else:
                coordinator.cut_short(number, "stopped")
        coordinator = coordinator_of(tmp_path, plan_of(name))
    open_trials(coordinator)
    whole = coordinator_in_memory(plan_of(name))
    for _ in range(3):
        for number in open_trials(whole):
            for event in events_of(whole, number) if number % 7 != 5 else ():
                event()
            if number % 7 == 5:
                whole.cut_short(number, "stopped")
    open_trials(whole)
    assert proposals(coordinator) == proposals(whole)


@pytest.mark.parametrize("name", SAMPLERS)
def test_interrupted_proposal_gets_the_same_values(tmp_path: Path, name: SamplerName) -> None:
    """The driver dies before each commit of the ninth proposal."""
    plan, base = plan_of(name), tmp_path / "base"
    base.mkdir()
    coordinator = coordinator_of(base, plan)
    for _ in range(2):
        for number in open_trials(coordinator):
            for event in events_of(coordinator, number):
                event()

    def propose(folder: Path) -> list[dict[str, ParamValue]]:
        driver = coordinator_of(folder, plan)
        while len(driver.records()) < 2 * TOGETHER + 1:  # the trial left running comes first
            assert driver.next_task() is not None
        return proposals(driver)

    shutil.copytree(base, tmp_path / "whole")
    expected = propose(tmp_path / "whole")
    for countdown in range(20):
        folder = tmp_path / str(countdown)
        shutil.copytree(base, folder)
        try:
            with killed_before_commit(countdown):
                propose(folder)
        except Killed:
            assert propose(folder) == expected, f"killed before commit {countdown}"
        else:
            assert countdown > 3
            return
    pytest.fail("the proposal has more than 20 commits")


def test_proposals_do_not_depend_on_the_process() -> None:
    """Python's order of sets of text differs between processes."""
    program = (
        "import json\n"
        "from tests.search.test_proposal_order import SAMPLERS, first, search\n"
        "print(json.dumps([search(name, 2, first) for name in SAMPLERS]))\n"
    )
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert found[0] == found[1]
