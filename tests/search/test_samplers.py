"""Samplers by name: sized to the sweep, seeded per proposal, correct in conditional spaces."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import create_trial

from orchestrator.core.errors import UserError
from orchestrator.core.grid import all_points
from orchestrator.core.space import Choices, FloatRange, IntRange, Parameter, ParamValue, Space
from orchestrator.core.sweeps.policy import Budget, SamplerName, SamplerPolicy, StoppingName, StoppingPolicy
from orchestrator.core.trials.timetable import Timetable
from orchestrator.core.trials.trial import TrialState
from orchestrator.search.coordinator import Coordinator
from orchestrator.search.plan import SearchPlan
from orchestrator.search.samplers import Proposal, build_sampler
from orchestrator.search.space import distributions
from tests.search.worlds import ACCURACY, GRID, POINTS, SPACE, coordinator_of, plan_of, run_out

NO_RULE = StoppingPolicy(rule=StoppingName.NONE)


def proposed(coordinator: Coordinator) -> list[Mapping[str, ParamValue]]:
    return [record.params for record in coordinator.records()]


def require_in(params: Mapping[str, ParamValue], space: Mapping[str, BaseDistribution]) -> None:
    """Raise ``ValueError`` for a value outside its Optuna distribution."""
    create_trial(value=0.0, params=dict(params), distributions={name: space[name] for name in params})


@pytest.mark.parametrize(
    ("trials", "startup", "population"), [(6, 3, 4), (12, 4, 4), (40, 10, 10), (400, 10, 50), (None, 10, 50)]
)
def test_sizes_fit_the_sweep(trials: int | None, startup: int, population: int) -> None:
    proposal = Proposal(space=SPACE, policy=SamplerPolicy(), trials=trials, seed=0)
    assert (proposal.startup_trials, proposal.population) == (startup, population)
    policy = SamplerPolicy(startup_trials=2, population=7)
    stated = Proposal(space=SPACE, policy=policy, trials=trials, seed=0)
    assert (stated.startup_trials, stated.population) == (2, 7)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (SamplerName.TPE, TPESampler),
        (SamplerName.RANDOM, RandomSampler),
        (SamplerName.QMC, QMCSampler),
        (SamplerName.GP, GPSampler),
        (SamplerName.CMAES, CmaEsSampler),
        (SamplerName.NSGAII, NSGAIISampler),
    ],
)
def test_every_name_is_its_sampler(name: SamplerName, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[type] = []
    # Optuna calls this public method of the sampler built for a trial.
    monkeypatch.setattr(kind, "before_trial", lambda self, study, trial: built.append(type(self)))
    proposal = Proposal(space=SPACE, policy=SamplerPolicy(name=name), trials=20, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optuna.create_study(sampler=build_sampler(proposal)).ask()
    assert len(built) == 1
    assert issubclass(built[0], kind)


@pytest.mark.parametrize("name", [name for name in SamplerName if name is not SamplerName.GRID])
def test_proposals_keep_to_the_space_and_its_conditions(tmp_path: Path, name: SamplerName) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=10, sampler=name))
    run_out(coordinator)
    assert len(coordinator.records()) == 10
    inner = distributions(SPACE)
    for params in proposed(coordinator):
        assert ("lora_plus_ratio" in params) == (params["init"] == "default")
        assert params["alpha"] == 32.0
        require_in({key: params[key] for key in inner if key in params}, inner)
    assert {type(params["rank"]) for params in proposed(coordinator)} == {int}
    assert {type(params["batch_size"]) for params in proposed(coordinator)} == {int}


@pytest.mark.parametrize("name", [SamplerName.TPE, SamplerName.CMAES, SamplerName.NSGAII])
def test_models_learn_from_the_ledger(tmp_path: Path, name: SamplerName) -> None:
    """The best learning rate is 1e-3 in a range of three decades: later proposals are closer to it."""
    space = Space(
        parameters=(
            Parameter(name="learning_rate", distribution=FloatRange(low=1e-5, high=1e-2, log=True)),
            Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.5)),
        )
    )
    policy = SamplerPolicy(name=name, startup_trials=6, population=6 if name is SamplerName.NSGAII else None)
    plan = SearchPlan(
        space=space,
        metric=ACCURACY,
        timetable=Timetable(points=POINTS[:1]),
        budget=Budget(trials=24),
        sampler=policy,
        stopping=NO_RULE,
        seed=3,
    )
    coordinator = coordinator_of(tmp_path, plan)
    run_out(coordinator)
    scores = [record.score(ACCURACY) or 0.0 for record in coordinator.records()]
    assert sum(scores[-6:]) > sum(scores[:6])


def test_quasi_random_points_fill_every_cell(tmp_path: Path) -> None:
    """Each sixteenth of every dimension holds one of the first 16 points of a scrambled Sobol' sequence."""
    space = Space(
        parameters=(
            Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.8)),
            Parameter(name="weight_decay", distribution=FloatRange(low=0.0, high=1.6)),
        )
    )
    coordinator = coordinator_of(tmp_path, plan_of(space=space, trials=16, sampler=SamplerName.QMC))
    run_out(coordinator)
    for name, high in (("dropout", 0.8), ("weight_decay", 1.6)):
        values = [params[name] for params in proposed(coordinator)]
        assert sorted(int(float(value or 0) / high * 16) for value in values) == list(range(16))


def test_another_seed_proposes_other_trials(tmp_path: Path) -> None:
    for name in (SamplerName.TPE, SamplerName.QMC, SamplerName.GRID):
        space = GRID if name is SamplerName.GRID else SPACE
        runs: list[list[Mapping[str, ParamValue]]] = []
        for seed in (1, 2):
            folder = tmp_path / f"{name}-{len(runs)}"
            folder.mkdir()
            coordinator = coordinator_of(folder, plan_of(space=space, trials=3, sampler=name, seed=seed))
            run_out(coordinator)
            runs.append(proposed(coordinator))
        assert runs[0] != runs[1], name


def test_grid_needs_countable_values(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(sampler=SamplerName.GRID))
    with pytest.raises(UserError, match="needs choices or a step; without: learning_rate, lora_plus_ratio"):
        coordinator.next_task()


def test_a_grid_may_be_too_large(tmp_path: Path) -> None:
    space = Space(
        parameters=tuple(Parameter(name=n, distribution=IntRange(low=1, high=64)) for n in ("rank", "alpha", "x"))
    )
    coordinator = coordinator_of(tmp_path, plan_of(space=space, sampler=SamplerName.GRID))
    with pytest.raises(UserError, match="a grid may have 50000 points"):
        coordinator.next_task()


@pytest.mark.parametrize(
    ("distribution", "count"),
    [
        (FloatRange(low=0.0, high=1.0, step=0.3), 4),
        (FloatRange(low=0.5, high=0.5), 1),
        (IntRange(low=1, high=10, step=4), 3),
        (Choices(choices=(None, True, "a")), 3),
    ],
)
@pytest.mark.filterwarnings("ignore:The distribution is specified")
def test_grid_points_equal_optuna_values(
    tmp_path: Path, distribution: FloatRange | IntRange | Choices, count: int
) -> None:
    space = Space(
        parameters=(
            Parameter(name="alpha" if not isinstance(distribution, Choices) else "x", distribution=distribution),
        )
    )
    points = all_points(space)
    assert points is not None
    assert len(points) == count
    for point in points:
        require_in(point, distributions(space))


def test_study_stores_pruned_trials_by_rung(tmp_path: Path) -> None:
    coordinator = coordinator_of(tmp_path, plan_of(trials=6))
    run_out(coordinator)
    study = optuna.load_study(study_name="sentiment#1", storage=f"sqlite:///{tmp_path / 'ledger.db'}")
    assert study.direction is optuna.study.StudyDirection.MAXIMIZE
    states = {TrialState.PRUNED: "PRUNED", TrialState.COMPLETE: "COMPLETE", TrialState.FAIL: "FAIL"}
    for record, trial in zip(coordinator.records(), study.trials, strict=True):
        assert trial.state.name == states[record.state]
        assert trial.value == record.score(ACCURACY)
        assert list(trial.intermediate_values) == [report.nominal_samples for report in record.reports]
        assert trial.user_attrs["loratory"] == {"trial": record.number, "reason": record.reason}
    assert {trial.state.name for trial in study.trials} == {"PRUNED", "COMPLETE"}
