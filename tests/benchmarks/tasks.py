"""Small tasks with given learning curves."""

from collections.abc import Mapping, Sequence

from benchmarks.search.task import Configuration, Replicate, Task
from orchestrator.core.space import Choices, FloatRange, Parameter, ParamValue, Space

SPACE = Space(
    parameters=(
        Parameter(name="rate", distribution=FloatRange(low=1e-4, high=1e-2, log=True)),
        Parameter(name="method", distribution=Choices(choices=("lora", "vera"))),
        Parameter(name="rank", distribution=Choices(choices=(4, 8)), when={"method": ("lora",)}),
    )
)


def curve(*costs: float, test: float | None = None, step: int = 100) -> Replicate:
    """Return a recorded trial with a report every ``step`` samples; its test cost is the best cost by default."""
    samples = tuple(step * (index + 1) for index in range(len(costs)))
    return Replicate(samples=samples, costs=costs, test_cost=min(costs) if test is None else test)


def task(
    curves: Sequence[Replicate | tuple[Replicate, ...]],
    *,
    start_points: Sequence[Mapping[str, ParamValue]] = (),
    space: Space | None = SPACE,
) -> Task:
    """Return a task with one configuration of ``SPACE`` for each curve, or for each tuple of curves."""
    rates = [1e-4 * 100 ** (index / max(1, len(curves) - 1)) for index in range(len(curves))]
    configurations = tuple(
        Configuration(
            params={"rate": rate, "method": "lora", "rank": 4}, replicates=each if isinstance(each, tuple) else (each,)
        )
        for rate, each in zip(rates, curves, strict=True)
    )
    return Task(name="small", configurations=configurations, space=space, start_points=tuple(start_points))
