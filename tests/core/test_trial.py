"""The best report of a trial decides its score; NaN is never best."""

import math

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.seeds import derive_seed
from orchestrator.core.space import Choices, Constant, FloatRange, Parameter, Space
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialRecord, TrialState

LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)
ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def record(*values: float, metric: Metric = LOSS) -> TrialRecord:
    reports = tuple(
        Report(
            trial=0,
            nominal_samples=100 * (i + 1),
            metrics={metric.name: value},
            checkpoint=None,
            started_at=0.0,
            ended_at=1.0,
        )
        for i, value in enumerate(values)
    )
    return TrialRecord(number=0, params={}, settings=TrialSettings(), seed=0, state=TrialState.RUNNING, reports=reports)


@pytest.mark.parametrize(
    ("values", "metric", "samples"),
    [
        ((0.5, 0.3, 0.4), LOSS, 200),
        ((0.5, 0.7, 0.6), ACCURACY, 200),
        ((0.4, 0.4), LOSS, 100),
        ((math.nan, 0.4), LOSS, 200),
        ((0.4, math.nan), LOSS, 100),
    ],
)
def test_best_report_is_the_earliest_best(values: tuple[float, ...], metric: Metric, samples: int) -> None:
    best = record(*values, metric=metric).best(metric)
    assert best is not None
    assert best.nominal_samples == samples


def test_trial_without_numbers_has_no_best() -> None:
    assert record(math.nan).best(LOSS) is None
    assert record().score(LOSS) is None


def test_best_can_be_limited_to_a_rung() -> None:
    assert record(0.5, 0.3, 0.1).score(LOSS, until=200) == 0.3


def test_sort_keys_put_missing_values_last() -> None:
    assert sorted([0.2, math.nan, 0.9, None], key=ACCURACY.sort_key)[:2] == [0.9, 0.2]
    assert sorted([0.2, None, 0.1], key=LOSS.sort_key) == [0.1, 0.2, None]


def test_seeds_depend_on_parts_and_order() -> None:
    seeds = {derive_seed(1, "a", 2), derive_seed(2, "a", 1), derive_seed(1, "b", 2), derive_seed("1", "a", 2)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert derive_seed(7, "sampler", 3) == derive_seed(7, "sampler", 3)


def test_conditions_need_an_active_parent() -> None:
    child = Parameter(name="lora_plus_ratio", distribution=FloatRange(low=1, high=16), when={"init": ("default",)})
    assert child.is_active({"init": "default"})
    assert not child.is_active({"init": "pissa"})
    assert not child.is_active({})


def test_constants_are_not_searched() -> None:
    space = Space(
        parameters=(
            Parameter(name="alpha", distribution=Constant(value=32)),
            Parameter(name="rank", distribution=Choices(choices=(4, 8))),
        )
    )
    assert space.searched == ("rank",)
