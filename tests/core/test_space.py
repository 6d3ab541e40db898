"""Possible combinations of a space's parameters."""

from orchestrator.core.space import Choices, Constant, FloatRange, IntRange, Parameter, Space

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
