"""TPE's view of a long sweep keeps all good trials and a bounded number of others."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials, default_gamma
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from orchestrator.core.space import FloatRange, Parameter, Space
from orchestrator.core.sweeps.policy import Budget, SamplerName, SamplerPolicy, StoppingName, StoppingPolicy
from orchestrator.core.trials.timetable import Timetable
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.study_views import one_per_parameter_set, with_ended
from orchestrator.search.tpe_history import BEST, NEWEST, TpeHistory
from tests.search.worlds import ACCURACY, coordinator_of, curve, step

MEANT = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)


def trial(draw: random.Random, complete: float) -> FrozenTrial:
    """Return a trial of any state; several trials share a value."""
    state = draw.choices(STATES, weights=(complete, 3, 1, 0.1))[0]
    values = {step: draw.choice([float("nan"), *range(40)]) for step in range(1, draw.randint(1, 4))}
    return create_trial(
        state=state,
        value=float(draw.randrange(40)) if state is TrialState.COMPLETE else None,
        params={"x": draw.random()},
        distributions={"x": FloatDistribution(0, 1)},
        intermediate_values=values,
    )


def study_of(trials: int, direction: Literal["minimize", "maximize"], complete: float = 1) -> tuple[Study, TpeHistory]:
    study = optuna.create_study(direction=direction)
    history = TpeHistory(study.directions)
    draw = random.Random(0)
    for _ in range(trials):
        study.add_trial(trial(draw, complete))
    ended = [each for each in study.get_trials() if each.state.is_finished()]
    draw.shuffle(ended)  # trials end in any order
    for each in ended:
        history.add(each)
    return study, history


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [each.number for each in trials]


def seen_by_tpe(study: Study, states: tuple[TrialState, ...] = MEANT) -> list[FrozenTrial]:
    """Return the trials as TPE reads them: through this private method of a study."""
    return study._get_trials(deepcopy=False, states=states)


def test_best_covers_all_good_trials_of_tpe() -> None:
    assert max(map(default_gamma, range(10_000))) == BEST


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("complete", [0, 0.05, 1], ids=["none complete", "few", "many"])
def test_good_trials_equal_those_of_whole_study(direction: Literal["minimize", "maximize"], complete: float) -> None:
    study, history = study_of(900, direction, complete)
    every = study.get_trials(states=MEANT)
    seen = seen_by_tpe(with_ended(study, history.trials))
    good, _ = _split_trials(study, seen, BEST)
    assert numbers(good) == numbers(_split_trials(study, every, BEST)[0])
    ended = [each.number for each in every if each.state.is_finished()]
    running = [each.number for each in every if each.state is TrialState.RUNNING]
    assert numbers(history.trials)[-NEWEST:] == ended[-NEWEST:]
    assert numbers(seen) == sorted({*numbers(history.trials), *running})
    assert len(history.trials) <= NEWEST + BEST < len(ended)


def test_short_study_is_seen_whole() -> None:
    study, history = study_of(NEWEST, "minimize")
    seen = with_ended(study, history.trials)
    for states in (MEANT, MEANT[:2]):
        assert seen_by_tpe(seen, states) == study.get_trials(states=states)
    assert (seen.direction, seen.study_name) == (study.direction, study.study_name)


def test_one_trial_per_parameter_set_gives_the_space() -> None:
    study = optuna.create_study()
    draw = random.Random(0)
    for _ in range(60):
        names = ["a", *draw.sample("bcdef", draw.randint(1, 3))]
        space: dict[str, BaseDistribution] = {name: FloatDistribution(0, 1) for name in names}
        study.add_trial(create_trial(value=0.0, params=dict.fromkeys(names, 0.5), distributions=space))
    few = with_ended(study, one_per_parameter_set(study.trials))
    assert len(seen_by_tpe(few)) < 26
    spaces = [_GroupDecomposedSearchSpace(include_pruned=True).calculate(each).search_spaces for each in (study, few)]
    assert spaces[0] == spaces[1]


RANDOM = 480
PLAN = SearchPlan(
    space=Space(parameters=(Parameter(name="learning_rate", distribution=FloatRange(low=1e-5, high=1e-2, log=True)),)),
    metric=ACCURACY,
    timetable=Timetable(points=(1000,)),
    budget=Budget(trials=RANDOM + 20),
    sampler=SamplerPolicy(name=SamplerName.TPE, startup_trials=RANDOM),  # random proposals are fast
    stopping=StoppingPolicy(rule=StoppingName.NONE),
    start_points=({"learning_rate": 1e-3},),  # the optimum
    seed=7,
)


def proposals(coordinator: Coordinator, count: int) -> Iterator[float]:
    """Run ``count`` trials to their ends."""
    for _ in range(count):
        task = coordinator.next_task()
        assert task is not None
        record = coordinator.records()[task.number]
        step(coordinator, record, curve)
        step(coordinator, record, curve)
        yield record.settings.learning_rate


def test_best_first_trial_is_kept_after_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sweep has more random trials than ``NEWEST``, and still reaches its model."""
    looked: list[list[int]] = []

    def split(study: Study, trials: list[FrozenTrial], below: int) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        looked.append(numbers(trials))
        return _split_trials(study, trials, below)

    # Optuna shows nowhere which trials TPE's model sees.
    monkeypatch.setattr("optuna.samplers._tpe.sampler._split_trials", split)
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    coordinator = coordinator_of(first, PLAN)
    before = len([*proposals(coordinator, RANDOM + 10)])
    shutil.copytree(first, again)
    uninterrupted = [*proposals(coordinator, 10)]
    in_one, looked[:] = looked[10:], looked[:10]
    assert [*proposals(coordinator_of(again, PLAN), 10)] == uninterrupted
    assert looked[10:] == in_one
    assert len(looked) == 20
    assert all(0 in seen for seen in looked)
    assert len(looked[-1]) < before + 9
