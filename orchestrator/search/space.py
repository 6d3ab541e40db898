"""The search space as Optuna sees it."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from orchestrator.core.space import ChoiceDomain, FixedDomain, FloatDomain, IntDomain, ParamValue, Space


def propose(trial: Trial, space: Space) -> dict[str, ParamValue]:
    """Ask Optuna's trial for every active parameter, parents first, and return the values with the fixed ones."""
    chosen: dict[str, ParamValue] = {}
    for parameter in space.parameters:
        if not parameter.is_active(chosen):
            continue
        domain = parameter.domain
        match domain:
            case FixedDomain():
                chosen[parameter.name] = domain.value
            case FloatDomain():
                chosen[parameter.name] = trial.suggest_float(
                    parameter.name, domain.low, domain.high, log=domain.log, step=domain.step
                )
            case IntDomain():
                chosen[parameter.name] = trial.suggest_int(
                    parameter.name, domain.low, domain.high, log=domain.log, step=domain.step
                )
            case ChoiceDomain():
                chosen[parameter.name] = trial.suggest_categorical(parameter.name, domain.choices)
    return chosen


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of every searched parameter, active or not."""
    found: dict[str, BaseDistribution] = {}
    for parameter in space.parameters:
        domain = parameter.domain
        match domain:
            case FloatDomain():
                found[parameter.name] = FloatDistribution(domain.low, domain.high, domain.log, domain.step)
            case IntDomain():
                found[parameter.name] = IntDistribution(domain.low, domain.high, domain.log, domain.step)
            case ChoiceDomain():
                found[parameter.name] = CategoricalDistribution(domain.choices)
            case FixedDomain():
                pass
    return found
