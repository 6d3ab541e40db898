"""Requests of users: answers, effects on the search, and the same results after kills."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.errors import UserError
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.control import Answer, ControlKind, ControlRequest, Limits, extended
from orchestrator.core.sweeps.policy import Budget, Confirmation, SamplerName, StoppingName, StoppingPolicy, Until
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.cloning import clone_params
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.sweeps import open_sweep
from tests.ledger.earlier_tables import back_to_version_2
from tests.search.test_coordinator_kills import study_of
from tests.search.worlds import (
    GRID,
    SPACE,
    Killed,
    coordinator_of,
    curve,
    essence,
    killed_before_commit,
    open_ledger,
    plan_of,
    run_out,
)

NO_RULE = StoppingPolicy(rule=StoppingName.NONE)
PARAMS: dict[str, ParamValue] = {
    "learning_rate": 1e-3,
    "rank": 8,
    "batch_size": 16,
    "init": "default",
    "lora_plus_ratio": 2.0,
    "alpha": 32.0,
}


def request(kind: ControlKind, **values: object) -> ControlRequest:
    return replace(ControlRequest(id=0, kind=kind, by="anna@lab", at=1.0), **values)  # type: ignore[arg-type]  # fields


def send(folder: Path, kind: ControlKind, **values: object) -> int:
    """Store a request as another terminal does, and return its id."""
    ledger = open_ledger(folder)
    return ledger.requests.add(ledger.sweeps.find("sentiment").id, request(kind, **values)).id


def requests_of(folder: Path) -> tuple[ControlRequest, ...]:
    ledger = open_ledger(folder)
    return ledger.requests.all(ledger.sweeps.find("sentiment").id)


Event = tuple[int, int, ControlRequest]
"""Trial and samples of the report before which a person sends a request."""


class People:
    """Learning curves during which users send requests, each once, whatever process runs the sweep."""

    def __init__(self, folder: Path, events: list[Event], coordinator: Coordinator) -> None:
        self._ledger = open_ledger(folder)
        self._events = events
        self._coordinator = coordinator

    def __call__(self, record: TrialRecord, samples: int) -> Report:
        sweep = self._ledger.sweeps.find("sentiment")
        sent = {one.reason for one in self._ledger.requests.all(sweep.id)}
        for trial, at, wanted in self._events:
            if (record.number, samples) == (trial, at) and wanted.reason not in sent:
                self._ledger.requests.add(sweep.id, wanted)
        self._coordinator.take_requests()
        return curve(record, samples)


def run(folder: Path, plan: SearchPlan, events: list[Event]) -> Coordinator:
    folder.mkdir(exist_ok=True)
    coordinator = coordinator_of(folder, plan)
    run_out(coordinator, People(folder, events, coordinator))
    return coordinator


# Stop.


def test_stopped_trial_ends_at_its_next_report(tmp_path: Path) -> None:
    events = [(1, 2000, request(ControlKind.STOP, trial=1, reason="too slow"))]
    coordinator = run(tmp_path, plan_of(trials=3, stopping=NO_RULE), events)
    stopped, others = coordinator.records()[1], coordinator.records()[::2]
    assert (stopped.state, stopped.reason) == (TrialState.PRUNED, "stopped by anna@lab: too slow")
    assert [report.nominal_samples for report in stopped.reports] == [1000, 2000]
    assert stopped.final, "its best checkpoint is measured as that of any other trial"
    assert all(record.state is TrialState.COMPLETE for record in others)
    assert [one.outcome for one in requests_of(tmp_path)] == ["trial 1 stops at its next report; its reports count"]


def test_waiting_trial_stops_at_once(tmp_path: Path) -> None:
    """With a cohort of 3, the first trial waits at the rung for two others."""
    plan = plan_of(trials=3, stopping=StoppingPolicy(reduction_factor=3))
    coordinator = coordinator_of(tmp_path, plan)
    task = coordinator.next_task()
    assert task is not None
    coordinator.report(curve(coordinator.records()[0], 1000))
    assert coordinator.records()[0].undecided
    send(tmp_path, ControlKind.STOP, trial=0)
    (decision,) = coordinator.take_requests()
    assert decision.outcome is not None
    assert decision.outcome.reason == "stopped by anna@lab"


@pytest.mark.parametrize(
    ("trial", "problem"), [(0, "trial 0 has ended already (complete"), (7, "there is no trial 7; trials: 0 to 1")]
)
def test_stop_without_effect_is_refused(tmp_path: Path, trial: int, problem: str) -> None:
    coordinator = run(tmp_path, plan_of(trials=2, stopping=NO_RULE), [])
    before = essence(coordinator)
    send(tmp_path, ControlKind.STOP, trial=trial)
    coordinator.take_requests()
    (answered,) = requests_of(tmp_path)
    assert answered.answer is Answer.REFUSED
    assert problem in (answered.outcome or "")
    assert essence(coordinator) == before


# Clone.


def test_clone_is_a_trial_of_search_and_budget(tmp_path: Path) -> None:
    params = {**PARAMS, "learning_rate": 2e-3}
    events = [(0, 2000, request(ControlKind.CLONE, trial=0, params=params, reason="higher rate"))]
    coordinator = run(tmp_path, plan_of(trials=4, stopping=NO_RULE), events)
    assert len(coordinator.records()) == 4
    clone = coordinator.records()[1]
    assert (dict(clone.params), clone.origin) == (params, "clone of trial 0, asked for by anna@lab: higher rate")
    assert clone.settings.learning_rate == 2e-3
    assert clone.settings.weight_decay == 0.1, "the fixed settings are the sweep's"
    assert len({record.seed for record in coordinator.records()}) == 4
    (row,) = [trial for trial in study_of(tmp_path) if dict(trial[5]).get("request") == 1]  # type: ignore[call-overload]
    assert row[2] == {name: value for name, value in params.items() if name != "alpha"}
    assert row[3] == [clone.score(plan_of().metric)]


def test_clone_beyond_budget_is_refused(tmp_path: Path) -> None:
    coordinator = run(tmp_path, plan_of(trials=2, stopping=NO_RULE), [])
    send(tmp_path, ControlKind.CLONE, trial=0, params=PARAMS)
    send(tmp_path, ControlKind.EXTEND, more=Limits(trials=1))
    send(tmp_path, ControlKind.CLONE, trial=0, params=PARAMS)
    coordinator.take_requests()
    first, _, second = requests_of(tmp_path)
    assert first.outcome == "all 2 trials of the budget were started; extend the sweep first"
    assert (second.answer, second.clone) == (Answer.DONE, 2)
    run_out(coordinator)
    assert coordinator.records()[2].state is TrialState.COMPLETE


def test_clone_of_a_known_configuration_is_refused(tmp_path: Path) -> None:
    coordinator = run(tmp_path, plan_of(trials=2, stopping=NO_RULE), [])
    send(tmp_path, ControlKind.EXTEND, more=Limits(trials=1))
    send(tmp_path, ControlKind.CLONE, trial=0, params=dict(coordinator.records()[1].params))
    coordinator.take_requests()
    assert requests_of(tmp_path)[1].outcome == "trial 1 has this configuration already"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rat": 1e-3}, "--set learning_rat: not a parameter of search.space; its parameters: learning_rate"),
        ({"rank": 5}, "--set rank: one of 4, 8, 16 is needed, got 5"),
        ({"learning_rate": 1.0}, "--set learning_rate: a number from 1e-05 to 0.01 is needed, got 1"),
        ({"batch_size": 12}, "--set batch_size: an integer from 8 to 32, 8 apart is needed, got 12"),
        ({"batch_size": True}, "--set batch_size: an integer from 8 to 32, 8 apart is needed, got true"),
        ({"alpha": 16}, "--set alpha: 32, the same in all trials, is needed, got 16"),
        ({"init": "gaussian", "lora_plus_ratio": 2.0}, "--set lora_plus_ratio: it is used only if init is default"),
    ],
)
def test_impossible_clone_is_refused(changes: dict[str, ParamValue], message: str) -> None:
    with pytest.raises(UserError) as error:
        clone_params(SPACE, PARAMS, changes)
    assert message in str(error.value)


def test_clone_follows_conditions() -> None:
    without = clone_params(SPACE, PARAMS, {"init": "gaussian"})
    assert without == {n: v for n, v in PARAMS.items() if n != "lora_plus_ratio"} | {"init": "gaussian"}
    with pytest.raises(UserError, match="--set lora_plus_ratio: a value is needed, because init is default: a number"):
        clone_params(SPACE, without, {"init": "default"})
    again = clone_params(SPACE, without, {"init": "default", "lora_plus_ratio": 4, "batch_size": 8.0})
    assert (again["lora_plus_ratio"], type(again["lora_plus_ratio"]), again["batch_size"]) == (4.0, float, 8)


def test_spent_tokens_admit_no_clone(tmp_path: Path) -> None:
    """A trial has 180,000 tokens, and the first report of the second one makes 210,000."""
    plan = plan_of(budget=Budget(trials=9, tokens=200_000), stopping=NO_RULE)
    coordinator = run(tmp_path, plan, [])
    for _ in range(2):
        send(tmp_path, ControlKind.CLONE, trial=0, params=PARAMS)
        send(tmp_path, ControlKind.EXTEND, more=Limits(trials=1))
        send(tmp_path, ControlKind.EXTEND, more=Limits(tokens=1000))
    coordinator.take_requests()
    assert [one.outcome for one in requests_of(tmp_path)] == [
        "the budget of 200,000 training tokens is spent (210,000); extend the sweep first",
        "no trial could start: the budget of 200,000 training tokens is spent (210,000)",
        "the budget is 9 trials, 211,000 tokens now",
        "trial 2 starts in the next free slot",
        "the budget is 10 trials, 211,000 tokens now",
        "the budget is 10 trials, 212,000 tokens now",
    ]
    assert coordinator.next_task() is not None


# Pause and resume.


def test_time_of_a_pause_is_not_spent(tmp_path: Path) -> None:
    now, ledger, plan = 0.0, open_ledger(tmp_path), plan_of(budget=Budget(trials=9, wall_time_s=100.0))
    sweep = open_sweep(ledger, "sentiment", {"space": 1}, "name: sentiment")
    send(tmp_path, ControlKind.PAUSE)
    coordinator = Coordinator(ledger, sweep, plan, timer=lambda: now, poll_s=0.0)
    now = 5000.0
    send(tmp_path, ControlKind.CLONE, trial=0, params=PARAMS)
    send(tmp_path, ControlKind.EXTEND, more=Limits(wall_time_s=60.0))
    send(tmp_path, ControlKind.RESUME)
    coordinator.take_requests()
    now += 200.0
    send(tmp_path, ControlKind.EXTEND, more=Limits(wall_time_s=60.0))
    coordinator.take_requests()
    _, clone, first, _, second = requests_of(tmp_path)
    assert clone.answer is Answer.DONE
    assert (first.limits.wall_time_s, second.limits.wall_time_s) == (160.0, 260.0)


def test_pause_of_an_ended_driver_is_refused(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    sweep = open_sweep(ledger, "sentiment", {"space": 1}, "name: sentiment")
    send(tmp_path, ControlKind.PAUSE, at=time.time())
    with ledger.drivers.hold(sweep.id):
        coordinator = Coordinator(ledger, sweep, plan_of(), poll_s=0.0)
        send(tmp_path, ControlKind.PAUSE, at=time.time())
        coordinator.take_requests()
    first, second = requests_of(tmp_path)
    assert (first.answer, first.outcome) == (Answer.REFUSED, "its driver ended before it could pause")
    assert second.answer is Answer.DONE


def test_pause_holds_until_resume(tmp_path: Path) -> None:
    plan = plan_of(trials=3, stopping=NO_RULE)
    coordinator = run(tmp_path, plan, [(1, 2000, request(ControlKind.PAUSE, reason="lunch"))])
    assert coordinator.paused
    assert coordinator.next_task() is None
    assert coordinator.records()[1].samples == 2000
    again = coordinator_of(tmp_path, plan)
    assert again.paused, "a new driver finds the sweep paused"
    assert not again.exhausted
    send(tmp_path, ControlKind.PAUSE)
    send(tmp_path, ControlKind.RESUME)
    send(tmp_path, ControlKind.RESUME)
    run_out(again)
    assert [record.state for record in again.records()] == [TrialState.COMPLETE] * 3
    answers = [(one.answer, one.outcome) for one in requests_of(tmp_path)][1:]
    assert answers == [
        (Answer.REFUSED, "the sweep is paused already"),
        (Answer.DONE, "the sweep continues"),
        (Answer.REFUSED, "the sweep is not paused"),
    ]


# Extend.


def test_extension_adds_trials_and_survives_restart(tmp_path: Path) -> None:
    plan = plan_of(trials=2, stopping=NO_RULE)
    coordinator = run(tmp_path, plan, [])
    send(tmp_path, ControlKind.EXTEND, more=Limits(trials=2))
    again = coordinator_of(tmp_path, plan)
    assert not again.exhausted
    run_out(again)
    assert len(again.records()) == 4
    assert coordinator_of(tmp_path, plan).exhausted_reason == "all 4 trials were started"
    assert essence(again)[:2] == essence(coordinator)


def test_extension_keeps_fresh_trainings_right(tmp_path: Path) -> None:
    """The leaders of all trials are confirmed, and no fresh training is made twice."""
    plan = plan_of(trials=4, stopping=NO_RULE, reports=2, confirm=Confirmation(top=1, seeds=2))
    coordinator = run(tmp_path, plan, [])
    send(tmp_path, ControlKind.EXTEND, more=Limits(trials=3))
    run_out(coordinator)
    searched = [record for record in coordinator.records() if record.confirms is None]
    assert len(searched) == 7
    leader = max(searched, key=lambda record: record.score(plan.metric) or 0.0)
    fresh = [record for record in coordinator.records() if record.confirms == leader.number]
    assert len(fresh) == len({record.seed for record in fresh}) == 2


@pytest.mark.parametrize(
    ("plan", "more", "outcome"),
    [
        (plan_of(trials=2), Limits(wall_time_s=60.0), "the budget has no limit wall_time"),
        (plan_of(budget=Budget(trials=2, tokens=10**9)), Limits(tokens=5), "the budget is 2 trials, 1,000,000,005"),
        (
            plan_of(space=GRID, trials=12, sampler=SamplerName.GRID, reports=1),
            Limits(trials=1),
            "no further trial can start: every point of the space has been tried (12 trials)",
        ),
        (
            plan_of(budget=Budget(trials=2, wall_time_s=900.0, until=Until.NO_EXPECTED_GAIN)),
            Limits(trials=3, wall_time_s=60.0),
            "the budget is 5 trials, 16 min now",
        ),
    ],
)
def test_extension_is_answered_in_words(tmp_path: Path, plan: SearchPlan, more: Limits, outcome: str) -> None:
    coordinator = run(tmp_path, plan, [])
    send(tmp_path, ControlKind.EXTEND, more=more)
    coordinator.take_requests()
    (answered,) = requests_of(tmp_path)
    assert (answered.outcome or "").startswith(outcome)


def test_larger_limit_of_file_and_extension_counts() -> None:
    done = request(ControlKind.EXTEND, answer=Answer.DONE, limits=Limits(trials=12))
    assert extended(Budget(trials=8), [done]) == Budget(trials=12)
    assert extended(Budget(trials=20), [done]) == Budget(trials=20)
    assert extended(Budget(tokens=5), [done]) == Budget(tokens=5)
    assert extended(Budget(trials=8), [replace(done, answer=Answer.REFUSED)]) == Budget(trials=8)


# Kills.

EVERYTHING: list[Event] = [
    (0, 2000, request(ControlKind.STOP, trial=0, reason="a")),
    (0, 2000, request(ControlKind.CLONE, trial=0, params=PARAMS, reason="b")),
    (2, 1000, request(ControlKind.STOP, trial=99, reason="c")),
    (2, 1000, request(ControlKind.EXTEND, more=Limits(trials=1), reason="d")),
    (2, 2000, request(ControlKind.PAUSE, reason="e")),
    (3, 2000, request(ControlKind.CLONE, trial=1, params={**PARAMS, "rank": 4}, reason="f")),
]
"""Every kind of request; some are refused. A person resumes whenever the sweep is paused."""


def drive(folder: Path, plan: SearchPlan) -> Coordinator:
    """Run a sweep in this process until it ends; a person resumes it after a pause."""
    coordinator = run(folder, plan, EVERYTHING)
    if coordinator.paused:
        if not any(one.kind is ControlKind.RESUME for one in requests_of(folder)):
            send(folder, ControlKind.RESUME, reason="g")
        run_out(coordinator, People(folder, EVERYTHING, coordinator))
    return coordinator


def answers(folder: Path) -> list[tuple[object, ...]]:
    return [(one.id, one.reason, one.answer, one.outcome, one.clone, one.limits) for one in requests_of(folder)]


@pytest.mark.parametrize("every", [9, pytest.param(14, marks=pytest.mark.extended)])
@pytest.mark.parametrize("sampler", [SamplerName.TPE, SamplerName.SURROGATE])
def test_kill_at_every_commit_changes_no_request(tmp_path: Path, sampler: SamplerName, every: int) -> None:
    plan = plan_of(trials=5, sampler=sampler, reports=3, confirm=Confirmation(top=1, seeds=1))
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        coordinator_of(tmp_path / name, plan)  # the first process creates the tables
    whole = drive(tmp_path / "whole", plan)
    deaths, alive = 0, True
    while alive:
        try:
            with killed_before_commit(every):
                drive(tmp_path / "killed", plan)
            alive = False
        except Killed:
            deaths += 1
    assert deaths > 3
    resumed = coordinator_of(tmp_path / "killed", plan)
    assert essence(resumed) == essence(whole)
    assert study_of(tmp_path / "killed") == study_of(tmp_path / "whole")
    assert answers(tmp_path / "killed") == answers(tmp_path / "whole")
    assert [one.answer for one in requests_of(tmp_path / "whole")].count(Answer.REFUSED) == 1
    assert len([record for record in resumed.records() if record.origin]) == 2
    assert len([record for record in resumed.records() if record.confirms is None]) == 6


@pytest.mark.parametrize("commits", range(4))
def test_clone_is_opened_once_after_kill(tmp_path: Path, commits: int) -> None:
    """The commits of a clone: its answer, its trial in the study, its trial in the ledger."""
    plan = plan_of(trials=3, stopping=NO_RULE, start=({"learning_rate": 2e-4, "rank": 16},))
    coordinator = coordinator_of(tmp_path, plan)
    assert coordinator.next_task() is not None
    send(tmp_path, ControlKind.CLONE, trial=0, params=PARAMS)
    with killed_before_commit(commits):
        if commits < 3:
            with pytest.raises(Killed):
                coordinator.take_requests()
        else:
            coordinator.take_requests()
    again = coordinator_of(tmp_path, plan)
    assert [record.origin for record in again.records()] == [None, "clone of trial 0, asked for by anna@lab"]
    run_out(again)
    assert [dict(record.params) == PARAMS for record in again.records()] == [False, True, False]
    assert len(study_of(tmp_path)) == 3


# The ledger.


def test_ledger_of_version_2_gets_requests(tmp_path: Path) -> None:
    coordinator = run(tmp_path, plan_of(trials=2, stopping=NO_RULE), [])
    before, ledger = essence(coordinator), open_ledger(tmp_path)
    back_to_version_2(ledger.database)
    ledger.close()
    again = Ledger.open(ledger.database.url)
    assert again.requests.all(1) == ()
    assert essence(coordinator_of(tmp_path, plan_of(trials=2, stopping=NO_RULE))) == before
