"""Start points from measured rates and from earlier sweeps of a real ledger."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from orchestrator.core.data import Origin, Source
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, Constant, FloatRange, IntRange, Parameter, ParamValue, Space
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Outcome, Report, TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.prior.points import Target, earlier_bests, nearest_point, shipped_point
from orchestrator.search.prior.rates import KnownRate, expected_batch_size, expected_rate, shipped_rates
from tests.search.worlds import open_ledger

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
MINILM = Source(origin=Origin.PACKAGED, name="minilm")
RATE = Parameter(name="learning_rate", distribution=FloatRange(low=1e-4, high=3e-3, log=True))
RANK = Parameter(name="rank", distribution=Choices(choices=(4, 8, 16, 32)))


def target(*parameters: Parameter, weights: int | None = 22_700_000, **fixed: ParamValue) -> Target:
    space = Space(parameters=parameters or (RATE, RANK))
    return Target(space=space, fixed=fixed, objective="sentiment", model=MINILM, weights=weights)


class TestRates:
    def test_every_shipped_rate_is_plausible(self) -> None:
        rates = shipped_rates()
        assert len({(rate.model, rate.rank) for rate in rates}) == len(rates)
        assert len({rate.model for rate in rates}) >= 30
        for rate in rates:
            assert 1e-5 <= rate.learning_rate <= 1e-2
            assert 1e7 <= rate.weights <= 1e13

    def test_close_models_and_ranks_weigh_more(self) -> None:
        known = [
            KnownRate(model="small", weights=1e8, rank=8, batch_size=8, learning_rate=1e-3),
            KnownRate(model="large", weights=1e10, rank=8, batch_size=None, learning_rate=1e-4),
            KnownRate(model="large", weights=1e10, rank=64, batch_size=32, learning_rate=4e-4),
        ]
        assert expected_rate(known, 100_000_000, 8) == pytest.approx(1e-3, rel=0.02)
        assert expected_rate(known, 10_000_000_000, 8) == pytest.approx(1e-4, rel=0.02)
        assert expected_rate(known, 10_000_000_000, 64) == pytest.approx(4e-4, rel=0.04)
        assert expected_rate(known, 1_000_000_000, 8) == pytest.approx(3.2e-4)
        assert expected_rate(known, None, 8) == pytest.approx(3.2e-4, rel=0.02)
        assert (expected_batch_size(known, 100_000_000), expected_batch_size(known, None)) == (8, 16)

    def test_far_model_gets_nearest_rate(self) -> None:
        assert expected_rate(shipped_rates(), 1000, 8) == pytest.approx(9e-4, rel=0.2)
        assert expected_rate(shipped_rates(), 10**18, 8) == pytest.approx(3e-4, rel=0.4)


class TestShippedPoint:
    def test_highest_rank_with_its_rate(self) -> None:
        assert shipped_point(target()) == {"learning_rate": pytest.approx(7e-4, rel=0.05), "rank": 32}
        large = shipped_point(target(weights=8_000_000_000))
        assert large is not None
        assert float(str(large["learning_rate"])) < 6e-4

    def test_full_starts_at_a_tenth_of_the_rate(self) -> None:
        rate = Parameter(name="learning_rate", distribution=FloatRange(low=1e-6, high=1e-2, log=True))
        lora = shipped_point(target(rate, rank=16))
        assert lora is not None
        assert shipped_point(target(rate, rank=16), method="full") is None
        full = shipped_point(target(rate, method="full"), method="full")
        assert full is not None
        assert full.keys() == {"learning_rate"}
        assert full["learning_rate"] == pytest.approx(0.1 * float(str(lora["learning_rate"])), rel=0.05)

    def test_only_searched_parameters_are_named(self) -> None:
        batch = Parameter(name="batch_size", distribution=Choices(choices=(8, 16, 64)))
        fixed = Parameter(name="rank", distribution=Constant(value=8))
        assert shipped_point(target(batch, fixed)) == {"batch_size": 16}
        assert shipped_point(target(Parameter(name="dropout", distribution=FloatRange(low=0, high=0.2)))) is None

    def test_rate_is_clipped_into_the_space(self) -> None:
        low = Parameter(name="learning_rate", distribution=FloatRange(low=1e-5, high=1e-4, log=True))
        assert shipped_point(target(low)) == {"learning_rate": 1e-4}

    def test_rank_has_the_measured_limit(self) -> None:
        rank = Parameter(name="rank", distribution=IntRange(low=8, high=512, step=8))
        assert shipped_point(target(rank)) == {"rank": 128}

    def test_other_methods_have_no_point(self) -> None:
        assert shipped_point(target(method="loha")) is None
        method = Parameter(name="method", distribution=Choices(choices=("ia3", "lora")))
        rank = replace(RANK, when={"method": ("lora",)})
        assert shipped_point(target(method, rank)) == {"method": "lora", "rank": 32}
        assert shipped_point(target(method)) is None


def test_nearest_point_leaves_out_inactive_parameters() -> None:
    space = Space(
        parameters=(
            Parameter(name="schedule", distribution=Choices(choices=("linear", "cosine"))),
            Parameter(name="batch_size", distribution=Constant(value=16)),
            Parameter(name="init", distribution=Choices(choices=("default", "gaussian"))),
            Parameter(name="rank", distribution=IntRange(low=4, high=16, step=4), when={"init": ("gaussian",)}),
            Parameter(name="alpha", distribution=FloatRange(low=8, high=32), when={"batch_size": (32,)}),
            Parameter(name="dropout", distribution=FloatRange(low=0, high=0.2), when={"schedule": ("cosine",)}),
            Parameter(name="beta1", distribution=FloatRange(low=0.8, high=0.9), when={"alpha": (8.0,)}),
        )
    )
    values: dict[str, ParamValue] = {
        "init": "default",
        "rank": 9,
        "alpha": 8.0,
        "dropout": 0.1,
        "batch_size": 8,
        "beta1": 0.9,
    }
    values["schedule"] = "constant"
    assert nearest_point(space, values) == {"init": "default", "dropout": 0.1}
    assert nearest_point(space, {**values, "init": "gaussian", "schedule": "linear"}) == {
        "schedule": "linear",
        "init": "gaussian",
        "rank": 8,
    }


NO_FRESH: Mapping[int, float] = {}


def store(
    ledger: Ledger,
    name: str,
    trials: Mapping[float, Mapping[str, ParamValue]],
    *,
    objective: str = "sentiment",
    model: Source = MINILM,
    metric: Metric = ACCURACY,
    status: SweepStatus = SweepStatus.FINISHED,
    state: TrialState = TrialState.COMPLETE,
    fresh: Mapping[int, float] = NO_FRESH,
) -> SweepRecord:
    """Store a sweep with one trial of one report for each score, and ``fresh`` scores with another seed by trial."""
    fingerprint = {"objective": objective, "model": json.loads(json.dumps(asdict(model)))}
    sweep = ledger.sweeps.create(name, 1, fingerprint, "")
    with ledger.drivers.hold(sweep.id):
        ledger.sweeps.update(sweep.id, status=status, facts={"metric": metric})
        configurations = [*trials.values()]
        own: list[tuple[float, Mapping[str, ParamValue], int | None]] = [(*one, None) for one in trials.items()]
        again = [(score, configurations[confirmed], confirmed) for confirmed, score in fresh.items()]
        for number, (score, params, confirms) in enumerate([*own, *again]):
            record = TrialRecord(
                number=number,
                params=params,
                settings=TrialSettings.from_params(params),
                seed=0,
                state=TrialState.RUNNING,
                confirms=confirms,
            )
            ledger.trials.add(sweep.id, record, number if confirms is None else None)
            report = Report(
                trial=number,
                nominal_samples=100,
                metrics={metric.name: score},
                checkpoint=None,
                started_at=0.0,
                ended_at=1.0,
            )
            ledger.trials.add_report(sweep.id, report)
            ledger.trials.end(sweep.id, number, Outcome(state=state, reason="end"), final={}, ended_at=1.0)
    return ledger.sweeps.get(sweep.id)


def found(ledger: Ledger, to: Target) -> list[tuple[str, int, Mapping[str, ParamValue]]]:
    return [(best.sweep, best.trial, best.point) for best in earlier_bests(ledger, to)]


class TestEarlierBests:
    def test_best_completed_trial_is_fitted_in(self, tmp_path: Path) -> None:
        ledger = open_ledger(tmp_path)
        good: dict[str, ParamValue] = {"learning_rate": 5e-3, "rank": 24, "options.bias": "all"}
        store(ledger, "one", {0.7: {"rank": 4}, 0.9: good, 0.8: {"rank": 8}})
        assert found(ledger, target()) == [("one#1", 1, {"learning_rate": 3e-3, "rank": 32})]
        assert found(ledger, target(RANK)) == [("one#1", 1, {"rank": 32})]
        # A setting fixed there may be searched here: it has the value of the trial.
        epochs = Parameter(name="epochs", distribution=FloatRange(low=0.5, high=3))
        assert found(ledger, target(epochs)) == [("one#1", 1, {"epochs": 1.0})]
        bias = Parameter(name="options.bias", distribution=Choices(choices=("none", "all")))
        assert found(ledger, target(bias)) == [("one#1", 1, {"options.bias": "all"})]
        assert found(ledger, target(method="ia3")) == []

    def test_fresh_seeds_decide_among_the_best(self, tmp_path: Path) -> None:
        ledger = open_ledger(tmp_path)
        store(ledger, "one", {0.9: {"rank": 4}, 0.8: {"rank": 8}, 0.85: {"rank": 16}}, fresh={0: 0.7, 1: 0.8})
        assert found(ledger, target(RANK)) == [("one#1", 1, {"rank": 8})]

    def test_metric_decides_direction(self, tmp_path: Path) -> None:
        ledger = open_ledger(tmp_path)
        store(ledger, "one", {0.7: {"rank": 4}, 0.9: {"rank": 8}}, metric=LOSS)
        assert found(ledger, target(RANK)) == [("one#1", 0, {"rank": 4})]

    def test_other_sweeps_give_nothing(self, tmp_path: Path) -> None:
        ledger = open_ledger(tmp_path)
        store(ledger, "other", {0.9: {"rank": 8}}, model=Source(origin=Origin.LOCAL, name="/models/minilm"))
        store(ledger, "open", {0.9: {"rank": 8}}, status=SweepStatus.INTERRUPTED)
        store(ledger, "pruned", {0.9: {"rank": 8}}, state=TrialState.PRUNED)
        store(ledger, "empty", {})
        assert found(ledger, target(RANK)) == []

    def test_same_objective_comes_first_then_newest(self, tmp_path: Path) -> None:
        ledger = open_ledger(tmp_path)
        store(ledger, "same-old", {0.9: {"rank": 4}})
        store(ledger, "same-new", {0.1: {"rank": 8}})
        store(ledger, "same-again", {0.1: {"rank": 8}})
        store(ledger, "topic-old", {0.9: {"rank": 16}}, objective="topic")
        store(ledger, "topic-new", {0.9: {"rank": 32}}, objective="topic")
        assert found(ledger, target(RANK)) == [
            ("same-again#1", 0, {"rank": 8}),
            ("same-old#1", 0, {"rank": 4}),
            ("topic-new#1", 0, {"rank": 32}),
        ]
        assert [best.same_objective for best in earlier_bests(ledger, target(RANK))] == [True, True, False]
