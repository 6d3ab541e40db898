"""Possible combinations of a space's parameters, and the possible value nearest to a given one."""

import pytest

from orchestrator.core.space import (
    Choices,
    Constant,
    Distribution,
    FloatRange,
    IntRange,
    Parameter,
    ParamValue,
    Space,
    is_possible,
    nearest_value,
)

SPACE = Space(
    parameters=(
        Parameter(name="method", distribution=Choices(choices=("lora", "ia3"))),
        Parameter(name="rank", distribution=IntRange(low=4, high=16, step=4), when={"method": ("lora",)}),
        Parameter(name="dora", distribution=Constant(value=True), when={"rank": (12,)}),
        Parameter(name="dropout", distribution=FloatRange(low=0.0, high=0.2)),
    )
)


def test_range_gives_ends_and_second_integer() -> None:
    assert SPACE.combinations(("dropout",)) == ({"dropout": 0.0}, {"dropout": 0.2})
    assert SPACE.combinations(("dropout", "nothing")) == SPACE.combinations(("dropout",))
    assert Space(parameters=()).combinations(("rank",)) == ({},)


def test_combinations_omit_inactive_parameters() -> None:
    assert SPACE.combinations(("dora",)) == ({}, {"dora": True})
    assert SPACE.combinations(("method", "rank", "dora")) == (
        {"method": "lora", "rank": 4},
        {"method": "lora", "rank": 8},
        {"method": "lora", "rank": 12, "dora": True},
        {"method": "lora", "rank": 16},
        {"method": "ia3"},
    )


@pytest.mark.parametrize(
    ("distribution", "value", "nearest"),
    [
        (FloatRange(low=1e-4, high=1e-2, log=True), 3e-4, 3e-4),
        (FloatRange(low=1e-4, high=1e-2, log=True), 1.0, 1e-2),
        (FloatRange(low=0.0, high=0.2), 0, 0.0),
        (FloatRange(low=0.0, high=0.2, step=0.05), 0.12, 0.1),
        (FloatRange(low=0.0, high=0.22, step=0.05), 0.3, 0.2),
        (IntRange(low=4, high=16, step=4), 9, 8),
        (IntRange(low=4, high=18, step=4), 100, 16),
        (IntRange(low=1, high=64, log=True), 1.45, 2),
        (IntRange(low=1, high=64, log=True), 0, 1),
        (Choices(choices=(4, 16, 64)), 32, 16),
        (Choices(choices=(64, 16, 4)), 33, 64),
        (Choices(choices=(0, 0.01, 0.1)), 0.03, 0.01),
        (Choices(choices=(None, 1e-3)), 5e-3, 1e-3),
        (Choices(choices=(None, 1e-3)), None, None),
        (Choices(choices=("lora", "ia3")), "ia3", "ia3"),
        (Choices(choices=("lora", "ia3")), "loha", None),
        (Choices(choices=("lora", "ia3")), 4, None),
        (Choices(choices=(True, False)), 1, None),
        (Choices(choices=(True, False)), True, True),
        (FloatRange(low=0.0, high=0.2), None, None),
        (FloatRange(low=0.0, high=2.0), True, None),
        (Constant(value=16), 16, 16),
        (Constant(value=16), 8, None),
    ],
)
def test_nearest_value_is_possible(distribution: Distribution, value: ParamValue, nearest: ParamValue) -> None:
    assert nearest_value(distribution, value) == nearest
    assert nearest is None or is_possible(distribution, nearest_value(distribution, value))
