"""How much each searched parameter mattered, over all trials at their highest common rung.

Optuna's own look is at completed trials alone: after early stopping that is a handful, and the best ones at that.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.core.configurations import ConfigurationSet
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trial import TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 10
"""Trials below which nothing is said; with more than five parameters, two per parameter are needed."""
_LOG_RATIO = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Importances:
    """Shares of the metric's variance, by fANOVA (Hutter et al. 2014).

    Attributes:
        shares: importance by parameter, the greatest first, in [0, 1], together 1; empty if too little is known.
        nominal_samples: the rung at which trials were compared; None if there is none.
        trials: trials that were compared.
        note: what a reader should know: why ``shares`` is empty, or which parameters are left out.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    nominal_samples: int | None = None
    trials: int = 0
    note: str | None = None


def importances(records: Sequence[TrialRecord], metric: Metric, *, seed: int = 0) -> Importances:
    """Return the importances at the highest rung that enough trials have reached.

    Enough are ten, or two per varied parameter if that is more. Every trial counts there with its best value so far,
    however it ended. Parameters that only some of those trials have (conditional ones) are left out and named.

    Args:
        records: the trials of one sweep.
        metric: what was searched for.
        seed: seed of fANOVA's random forest.
    """
    varied = ConfigurationSet(record.params for record in records).multivalued
    needed = max(FEWEST_TRIALS, 2 * len(varied))
    rungs = sorted({report.nominal_samples for record in records for report in record.reports}, reverse=True)
    most = 0
    for rung in rungs:
        scored = [(record, score) for record in records if (score := _score_at(record, metric, rung)) is not None]
        most = max(most, len(scored))
        if len(scored) >= needed:
            return _at_rung(scored, varied, rung, seed)
    return Importances(note=f"too few trials: {needed} needed at one report point, {most} reported", trials=most)


def _at_rung(
    scored: Sequence[tuple[TrialRecord, float]], varied_in_all: Sequence[str], rung: int, seed: int
) -> Importances:
    varied = ConfigurationSet(record.params for record, _ in scored).multivalued
    common = [name for name in varied if all(name in record.params for record, _ in scored)]
    notes = {
        "omitted: not set in every trial": [name for name in varied if name not in common],
        f"omitted: equal in all trials that reached {rung:,} samples": [
            name for name in varied_in_all if name not in varied
        ],
    }
    note = "; ".join(f"{', '.join(names)} {why}" for why, names in notes.items() if names) or None
    if not common or len({score for _, score in scored}) == 1:
        note = f"nothing to compare: all {len(scored)} trials have the same values at {rung:,} samples"
        return Importances(nominal_samples=rung, trials=len(scored), note=note)
    return Importances(
        shares=_fanova(scored, common, seed),
        nominal_samples=rung,
        trials=len(scored),
        note=note,
    )


def _fanova(scored: Sequence[tuple[TrialRecord, float]], names: Sequence[str], seed: int) -> dict[str, float]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
            distributions = {name: _distribution([record.params[name] for record, _ in scored]) for name in names}
            for record, score in scored:
                params = {name: record.params[name] for name in names}
                study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=score))
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(names)))
    finally:
        optuna.logging.set_verbosity(before)


def _distribution(values: Sequence[ParamValue]) -> "BaseDistribution":
    """Return the distribution of the trials' values; numbers that span a factor of 30 count by their logarithm."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low >= _LOG_RATIO)


def _score_at(record: TrialRecord, metric: Metric, rung: int) -> float | None:
    reached = any(report.nominal_samples == rung for report in record.reports)
    return record.score(metric, until=rung) if reached else None
