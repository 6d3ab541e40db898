"""Candidates: the nearest untried one replaces each proposal, for every sampler."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from orchestrator.core.space import Choices, FloatRange, IntRange, Parameter, ParamValue, Space
from orchestrator.core.sweeps.policy import SamplerName, StoppingName, StoppingPolicy
from orchestrator.ledger.codec import canonical
from orchestrator.search.candidates import CandidateSet
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from tests.search.test_coordinator_kills import killed_again_and_again
from tests.search.worlds import SPACE, coordinator_in_memory, coordinator_of, essence, plan_of, run_out

RATES = Space(parameters=(Parameter(name="learning_rate", distribution=FloatRange(low=1e-5, high=1e-1, log=True)),))


def drawn(number: int, seed: int = 0) -> tuple[Mapping[str, ParamValue], ...]:
    """Return random points of ``SPACE``."""
    draw = random.Random(seed)
    points = []
    for _ in range(number):
        point: dict[str, ParamValue] = {
            "learning_rate": 10 ** draw.uniform(-5, -2),
            "rank": draw.choice((4, 8, 16)),
            "batch_size": draw.choice((8, 16, 24, 32)),
            "init": draw.choice(("default", "gaussian")),
        }
        if point["init"] == "default":
            point["lora_plus_ratio"] = draw.uniform(1, 16)
        points.append({**point, "alpha": 32.0})
    return tuple(points)


def plan_with(
    candidates: tuple[Mapping[str, ParamValue], ...],
    *,
    trials: int = 9,
    sampler: SamplerName = SamplerName.TPE,
    start: tuple[Mapping[str, ParamValue], ...] = (),
    seed: int = 7,
) -> SearchPlan:
    plan = plan_of(trials=trials, sampler=sampler, start=start, seed=seed)
    return replace(plan, candidates=candidates, stopping=StoppingPolicy(rule=StoppingName.NONE))


def proposed(coordinator: Coordinator) -> list[Mapping[str, ParamValue]]:
    return [record.params for record in coordinator.records()]


def test_distance_is_logarithmic_in_a_logarithmic_range() -> None:
    candidates = CandidateSet([{"learning_rate": rate} for rate in (1e-5, 1e-3, 1e-1)], RATES)
    assert candidates.nearest({"learning_rate": 1.1e-2}, set()) == {"learning_rate": 1e-1}
    assert candidates.nearest({"learning_rate": 0.9e-2}, set()) == {"learning_rate": 1e-3}


def test_tried_candidates_are_skipped() -> None:
    candidates = CandidateSet([{"learning_rate": rate} for rate in (1e-5, 1e-3, 1e-1)], RATES)
    tried = {canonical({"learning_rate": 1e-3})}
    assert candidates.nearest({"learning_rate": 1e-3}, tried) == {"learning_rate": 1e-5}


def test_choices_and_inactive_parameters_count_one() -> None:
    space = Space(
        parameters=(
            Parameter(name="rank", distribution=IntRange(low=0, high=10)),
            Parameter(name="init", distribution=Choices(choices=("a", "b", "c"))),
            Parameter(name="alpha", distribution=FloatRange(low=0, high=1), when={"init": ("a", "b")}),
        )
    )
    near: dict[str, ParamValue] = {"rank": 9, "init": "a", "alpha": 0.5}
    far: dict[str, ParamValue] = {"rank": 0, "init": "b", "alpha": 0.5}
    inactive: dict[str, ParamValue] = {"rank": 0, "init": "c"}
    candidates = CandidateSet([far, inactive, near], space)
    point: dict[str, ParamValue] = {"rank": 0, "init": "a", "alpha": 0.5}
    order: list[Mapping[str, ParamValue]] = []
    tried: set[str] = set()
    while len(order) < 3:
        order.append(candidates.nearest(point, tried))
        tried.add(canonical(order[-1]))
    assert order == [near, far, inactive]  # squared distances 0.81, 1 and 2


@pytest.mark.parametrize("point", [{"learning_rate": 1.0}, {}, {"learning_rate": 1e-3, "rank": 4}])
def test_candidates_outside_the_space_are_refused(point: Mapping[str, ParamValue]) -> None:
    with pytest.raises(ValueError, match="not a point of the space"):
        CandidateSet([point], RATES)


@pytest.mark.parametrize("sampler", list(SamplerName))
def test_every_sampler_proposes_candidates_alone(sampler: SamplerName) -> None:
    candidates = drawn(40)
    coordinator = coordinator_in_memory(plan_with(candidates, trials=12, sampler=sampler))
    run_out(coordinator)
    assert len(coordinator.records()) == 12
    assert all(params in candidates for params in proposed(coordinator))
    assert len({canonical(params) for params in proposed(coordinator)}) == 12


def test_study_holds_the_candidates_values(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_with(drawn(20), trials=4, start=({"rank": 16},)))
    run_out(coordinator)
    study = optuna.load_study(study_name="sentiment#1", storage=f"sqlite:///{tmp_path / 'ledger.db'}")
    stored = [{**trial.params, "alpha": 32.0} for trial in study.trials]
    assert stored == proposed(coordinator)


@pytest.mark.parametrize("sampler", [SamplerName.RANDOM, SamplerName.GRID, SamplerName.TPE])
def test_search_ends_after_the_last_candidate(sampler: SamplerName) -> None:
    candidates = drawn(7)
    coordinator = coordinator_in_memory(plan_with(candidates, trials=20, sampler=sampler))
    run_out(coordinator)
    assert sorted(map(canonical, proposed(coordinator))) == sorted(map(canonical, candidates))
    assert coordinator.exhausted_reason == "every point of the space has been tried (7 trials)"


def test_start_points_become_candidates() -> None:
    candidates = drawn(40)
    whole = {**candidates[3], "learning_rate": float(candidates[3]["learning_rate"] or 0) * 1.001}
    coordinator = coordinator_in_memory(plan_with(candidates, trials=3, start=(whole, {"rank": 16})))
    run_out(coordinator)
    assert proposed(coordinator)[0] == candidates[3]
    assert proposed(coordinator)[1] in candidates
    assert proposed(coordinator)[1]["rank"] == 16


@pytest.mark.parametrize("sampler", [SamplerName.TPE])
def test_kills_change_no_candidate(tmp_path: Path, sampler: SamplerName) -> None:
    plan = plan_with(drawn(20), trials=3, sampler=sampler, start=({"learning_rate": 2e-4},))
    (tmp_path / "whole").mkdir()
    whole = coordinator_of(tmp_path / "whole", plan)
    run_out(whole)
    assert killed_again_and_again(tmp_path / "killed", plan, 11) > 0
    assert essence(coordinator_of(tmp_path / "killed", plan)) == essence(whole)


def test_space_contains_its_points_alone() -> None:
    (point,) = drawn(1)
    assert SPACE.contains(point)
    assert not SPACE.contains({**point, "batch_size": 9})
    assert not SPACE.contains({**point, "batch_size": 16.0})
    assert not SPACE.contains({**point, "rank": 5})
    assert not SPACE.contains({**point, "alpha": 31.0})
    assert not SPACE.contains({name: value for name, value in point.items() if name != "rank"})
