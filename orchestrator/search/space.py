"""The search space in Optuna's terms."""

from collections.abc import Collection

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from orchestrator.core.space import Choices, Constant, FloatRange, IntRange, ParamValue, Space


def propose(trial: Trial, space: Space) -> dict[str, ParamValue]:
    """Ask Optuna's trial for every active parameter, parents first, and return all values, constants included."""
    chosen: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        if not parameter.is_active(chosen):
            continue
        distribution = parameter.distribution
        match distribution:
            case Constant():
                chosen[parameter.name] = distribution.value
            case FloatRange():
                chosen[parameter.name] = trial.suggest_float(
                    parameter.name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
                )
            case IntRange():
                chosen[parameter.name] = trial.suggest_int(
                    parameter.name, distribution.low, distribution.high, log=distribution.log, step=distribution.step
                )
            case Choices():
                chosen[parameter.name] = trial.suggest_categorical(parameter.name, distribution.choices)
    return chosen


def lowest(space: Space, names: Collection[str]) -> dict[str, ParamValue]:
    """Return the lowest possible value of each named parameter of the space; all of them are numbers."""
    values: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        if parameter.name in names:
            distribution = parameter.distribution
            match distribution:
                case Constant():
                    values[parameter.name] = distribution.value
                case Choices():
                    values[parameter.name] = min(c for c in distribution.choices if isinstance(c, int | float))
                case FloatRange() | IntRange():
                    values[parameter.name] = distribution.low
    return values


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every searched parameter, active or not."""
    by_name: dict[str, BaseDistribution] = {}
    for parameter in space.parameters:
        distribution = parameter.distribution
        match distribution:
            case FloatRange():
                by_name[parameter.name] = FloatDistribution(
                    distribution.low, distribution.high, distribution.log, distribution.step
                )
            case IntRange():
                by_name[parameter.name] = IntDistribution(
                    distribution.low, distribution.high, distribution.log, distribution.step
                )
            case Choices():
                by_name[parameter.name] = CategoricalDistribution(distribution.choices)
            case Constant():
                pass
    return by_name
