"""Parameter importances over all trials at their highest common report point.

Optuna's own function uses completed trials only. After early stopping these are few, and the best ones.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.core.configurations import ConfigurationSet
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.ranking import of_the_search
from orchestrator.core.trials.trial import TrialRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 10
"""Fewest trials for importances; with more than five parameters, two trials per parameter are needed."""
_LOG_RATIO = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Importances:
    """Shares of the metric's variance, by fANOVA (Hutter et al. 2014).

    Attributes:
        shares: importance by parameter, in descending order, in [0, 1], with the sum 1; empty with too few trials.
        nominal_samples: the report point of the comparison; None without one.
        trials: number of trials compared.
        note: the reason for empty ``shares``, or the omitted parameters; None without either.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    nominal_samples: int | None = None
    trials: int = 0
    note: str | None = None


def importances(records: Sequence[TrialRecord], metric: Metric, *, seed: int = 0) -> Importances:
    """Return the importances at the highest report point reached by enough trials.

    Enough means ten, or two per varied parameter if this is more. Each trial counts with its best value up to the
    point, whatever its outcome. Conditional parameters missing in some trials are omitted and named.

    Args:
        records: the trials of one sweep.
        metric: the searched metric.
        seed: seed of fANOVA's random forest.
    """
    records = of_the_search(records)
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
    """Return the distribution of the trials' values; numbers over a factor of 30 or more use a logarithmic scale."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(set(values), key=repr))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low >= _LOG_RATIO)


def _score_at(record: TrialRecord, metric: Metric, rung: int) -> float | None:
    reached = any(report.nominal_samples == rung for report in record.reports)
    return record.score(metric, until=rung) if reached else None
