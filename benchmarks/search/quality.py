"""Test quality of a table's configurations, less noisy than the mean over few seeds.

The mean test cost over n seeds is shrunk towards the prediction of a random forest from the parameter values:

    estimate = w · mean + (1 − w) · prediction,    w = model_variance / (model_variance + seed_variance / n)

The forest predicts each configuration without its own value (out of bag). ``seed_variance`` is the pooled variance
between the seeds of a configuration. ``model_variance`` is the forest's mean squared error less the part from seeds.
Both are taken from the better half of the configurations: winners lie there, and diverged trials would dominate both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.simulation import Step
from benchmarks.search.task import Task
from orchestrator.core.space import Choices, Constant, Distribution, ParamValue, Space

Array = NDArray[np.float64]
TREES = 300
DRAWS = 4000
ENOUGH = 20
"""Fewer configurations are not shrunk: a forest cannot learn from them."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of one task's configurations, as test costs.

    Attributes:
        task: the task.
        means: mean test cost over seeds of every configuration.
        estimates: the shrunk means.
        weights: weight of the mean in each estimate, in [0, 1].
        seed_deviation: standard deviation of a test cost between seeds.
    """

    task: Task
    means: Array
    estimates: Array
    weights: Array
    seed_deviation: float

    @cached_property
    def best_configuration(self) -> int:
        """The configuration with the lowest estimate."""
        return int(np.argmin(self.estimates))

    @property
    def best(self) -> float:
        """The lowest estimate."""
        return float(self.estimates[self.best_configuration])

    @cached_property
    def choice_regret(self) -> float:
        """Mean regret of the configuration with the best validation value, of all, each trained once to its end.

        It is the limit of a choice by validation: more training cannot lower it, only more validation rows or seeds.
        The recorded trial of each configuration is drawn from its replicates, ``DRAWS`` times.
        """
        rng = np.random.default_rng(0)
        costs = [np.array([min(one.costs) for one in each.replicates]) for each in self.task.configurations]
        drawn = np.stack([values[rng.integers(len(values), size=DRAWS)] for values in costs])
        return float(self.estimates[drawn.argmin(axis=0)].mean()) - self.best

    def cost(self, step: Step) -> float:
        """Return the expected test cost of an incumbent as far as it is trained.

        A table holds test values of whole trials only. So a shorter trial is charged the improvement in validation cost
        which its configuration still makes, as the mean over seeds.
        """
        replicates = self.task.configurations[step.configuration].replicates
        missing = [one.best_cost(step.samples) - min(one.costs) for one in replicates]
        return float(self.estimates[step.configuration]) + sum(missing) / len(missing)

    def own_cost(self, step: Step) -> float:
        """Return the same for a policy that chooses among seeds: the test cost of the incumbent's own trial."""
        own = self.task.configurations[step.configuration].replicates[step.replicate]
        return own.test_cost + own.best_cost(step.samples) - min(own.costs)


def quality_of(task: Task) -> Quality:
    """Return the quality of a task's configurations."""
    tests = [np.array([one.test_cost for one in each.replicates]) for each in task.configurations]
    means = np.array([values.mean() for values in tests])
    better = means <= np.median(means)
    seed_variance = _seed_variance([values for values, kept in zip(tests, better, strict=True) if kept])
    if task.seed_deviation is not None:
        seed_variance = task.seed_deviation**2
    estimates, weights = means, np.ones(len(means))
    if seed_variance is not None and task.space is not None and len(means) >= ENOUGH:
        sizes = np.array([len(values) for values in tests])
        points = np.array([features(task.space, one.params) for one in task.configurations])
        predictions = _out_of_bag(points, means, sizes)
        error = float(np.mean((means - predictions)[better] ** 2))
        model_variance = max(0.0, error - seed_variance * float(np.mean(1 / sizes[better])))
        variances = model_variance + seed_variance / sizes
        weights = np.divide(model_variance, variances, out=np.ones(len(means)), where=variances > 0)
        estimates = weights * means + (1 - weights) * predictions
    return Quality(
        task=task,
        means=means,
        estimates=estimates,
        weights=weights,
        seed_deviation=0.0 if seed_variance is None else float(np.sqrt(seed_variance)),
    )


def _seed_variance(tests: list[Array]) -> float | None:
    """Return the pooled variance between seeds, or None without a configuration with two seeds."""
    repeated = [values for values in tests if len(values) > 1]
    if not repeated:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
    return squares / sum(len(values) - 1 for values in repeated)


def _out_of_bag(points: Array, means: Array, sizes: NDArray[np.int64]) -> Array:
    """Return the forest's predictions, each from the trees that have not seen the configuration."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=TREES, min_samples_leaf=2, oob_score=True, random_state=0)
    forest.fit(points, means, sample_weight=sizes)
    predictions: Array = forest.oob_prediction_
    return predictions


def features(space: Space, point: Mapping[str, ParamValue]) -> list[float]:
    """Return the values of all searched parameters: a choice by its index, an inactive parameter as −1."""
    return [
        _feature(one.distribution, point[one.name]) if one.name in point else -1.0
        for one in space.parameters
        if not isinstance(one.distribution, Constant)
    ]


def _feature(distribution: Distribution, value: ParamValue) -> float:
    if isinstance(distribution, Choices):
        return float(distribution.choices.index(value))
    assert isinstance(value, int | float)
    return math.log(value) if not isinstance(distribution, Constant) and distribution.log else float(value)
