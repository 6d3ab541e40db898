"""The noise of a test metric between seeds: assumed for one seed, measured with the fresh seeds of a confirmation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.entities.counts import COUNTS

if TYPE_CHECKING:
    from orchestrator.statistics.noise import ScoreInterval, SeedNoise

LOWEST = 0.005
"""Standard deviation on many training rows: five seeds on 2,000 rows (benchmarks/history/2026-11-26.md)."""
BY_ROOT = 0.25
"""Its product with the root of the number of training rows, on few of them."""
HIGHEST = 0.05
ORIGIN = "recorded seeds (benchmarks/tables) and five seeds in benchmarks/history/2026-11-26.md"
"""The measurements."""
FREEDOM = 4
"""Degrees of freedom when pooled with the seeds of a confirmation."""
TYPICAL = 0.85
"""Accuracy about as high as the mean of the recorded seeds, which is 0.84."""
_DRAWS = 1000


def assumed_seed_sd(training_rows: int | None) -> float:
    """Return the standard deviation of an accuracy between seeds, in [0.005, 0.05].

    It is 0.25 / sqrt(training rows): the variance between trained models falls with the number of their rows. Five
    recorded seeds of each of 17 configurations with 200 rows have 0.015 (``benchmarks/tables``), this rule has 0.018;
    five seeds with 2,000 rows have 0.005. The rule is above the mean, because the noise of some configurations is
    larger.

    Args:
        training_rows: number of rows of the trial's training; None or 0: unknown, taken as many.
    """
    if not training_rows:
        return LOWEST
    return min(HIGHEST, max(LOWEST, BY_ROOT / math.sqrt(training_rows)))


def assumed_sd(name: str, rows: RowMeasures, training_rows: int | None) -> float | None:
    """Return the standard deviation of a metric between seeds, if recorded seeds tell it.

    That of macro-F1 is the one of an accuracy times the ratio of their noises over resampled rows: seeds differ on
    single rows, as resamplings do. The ratio is at least 1. Its noise of accuracy is at least that of an accuracy of
    0.85: with rare classes and an accuracy near 1 the ratio is too high otherwise. The recorded seeds agree
    (``docs/decisions/0069-seed-noise-of-macro-f1.md``). The noise of losses has no such rule: its ratio to the one of
    accuracies was 16 and 4.

    The limit is sqrt(m (1 - m)), the largest standard deviation of values in [0, 1] with the mean m (Bhatia and Davis
    2000, "A better bound on the variance", American Mathematical Monthly 107).

    Args:
        name: the metric without a split.
        rows: a measurement of it.
        training_rows: number of rows of the training; None: unknown.

    Returns:
        None for metrics other than ``accuracy`` and ``macro_f1``, and without class ids.
    """
    if not rows.references or name not in {"accuracy", "macro_f1"}:
        return None
    sd = assumed_seed_sd(training_rows)
    if name == "accuracy":
        return sd
    return max(sd, _macro_f1_sd(rows, sd))


def _macro_f1_sd(rows: RowMeasures, accuracy_sd: float) -> float:
    """Return the standard deviation of macro-F1 between seeds from that of accuracy; ``assumed_sd`` has the rule."""
    import numpy as np

    from orchestrator.statistics.resampling import row_draws
    from orchestrator.statistics.row_metrics import class_statistic, macro_f1

    predictions_n, references_n = np.array(rows.predictions), np.array(rows.references)
    statistic, sizes_g = class_statistic(predictions_n[None, :], references_n, macro_f1)
    value, share = float(statistic(sizes_g[None, :])[0, 0]), float((predictions_n == references_n).mean())
    row_sd = float(row_draws(statistic, sizes_g, np.random.default_rng(0), _DRAWS).std())
    accuracy_row_sd = math.sqrt(max(share * (1 - share), TYPICAL * (1 - TYPICAL)) / len(references_n))
    return min(accuracy_sd * row_sd / accuracy_row_sd, math.sqrt(max(0.0, value * (1 - value))))


def assumed_noise(
    name: str, rows: RowMeasures, training_rows: int | None, degrees_of_freedom: float = math.inf
) -> "SeedNoise | None":
    """Return ``assumed_sd`` as a prior, None if it is unknown; infinite degrees of freedom: known."""
    from orchestrator.statistics.noise import prior_noise

    sd = assumed_sd(name, rows, training_rows)
    return None if sd is None else prior_noise(sd, ORIGIN, degrees_of_freedom)


def seeds_score(name: str, seeds: Sequence[RowMeasures], training_rows: int | None) -> "ScoreInterval | None":
    """Return the mean of a metric over trainings of one configuration with several seeds, and the noise between them.

    For accuracy and macro-F1 this noise is pooled with the assumed one. Macro-F1 and F1 of entities are resampled.

    Args:
        name: ``accuracy``, ``macro_f1``, ``loss``, ``f1`` of entities or a metric with a value per row, without a
            split.
        seeds: the rows of each training, the same rows in the same order.
        training_rows: number of rows of a training; None: unknown.

    Returns:
        None for another metric, for fewer than 2 seeds or rows, and if the rows are not the same.
    """
    if not same_rows(seeds):
        return None
    import numpy as np

    from orchestrator.statistics.noise import accuracy_score, bootstrapped_score, class_score, mean_score
    from orchestrator.statistics.row_metrics import item_statistic, macro_f1

    predictions_sn, references_n = np.array([each.predictions for each in seeds]), np.array(seeds[0].references)
    if name in {"accuracy", "macro_f1"} and len(references_n):
        prior = assumed_noise(name, seeds[0], training_rows, FREEDOM)
        if name == "macro_f1":
            return class_score(predictions_sn, references_n, macro_f1, np.random.default_rng(0), prior)
        return accuracy_score(predictions_sn == references_n, prior)
    if name == "f1" and all(items := [items_of(each) for each in seeds]):
        return bootstrapped_score(*item_statistic(np.array(items)), np.random.default_rng(0))
    values = [each.losses if name == "loss" else each.scores.get(name, ()) for each in seeds]
    if not (same_units(seeds) if name == "loss" else have_scores(name, seeds)):
        return None
    return mean_score(np.array(values), units_n=np.array(seeds[0].units) if name == "loss" else None)


def same_rows(each: Sequence[RowMeasures]) -> bool:
    """Return whether there are at least 2 measurements, all of the same rows in the same order, and at least 2 rows.

    Rows with keys are compared by them, other rows by their units and their classes.
    """
    if not each:
        return False
    keyed = all(measured.keys for measured in each)
    same = len({measured.keys if keyed else (measured.units, measured.references) for measured in each}) == 1
    return same and len(each) > 1 and len(each[0].losses) > 1


def same_units(each: Sequence[RowMeasures]) -> bool:
    """Return whether all measurements weight their rows alike: those of windows depend on ``max_length``."""
    return len({measured.units for measured in each}) == 1


def items_of(rows: RowMeasures) -> "list[tuple[float, ...]]":
    """Return the right, predicted and true entities of each row; empty in other tasks."""
    return [rows.scores[name] for name in COUNTS] if rows.scores.keys() >= {*COUNTS} and rows.losses else []


def have_scores(name: str, each: Sequence[RowMeasures]) -> bool:
    """Return whether all measurements have values of a metric for the same number of rows, at least 2."""
    counts = {len(measured.scores.get(name, ())) for measured in each}
    return len(counts) == 1 and min(counts) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedSd:
    """A standard deviation between seeds.

    Attributes:
        value: in the unit of the metric; 0: unknown.
        origin: where it is from, in words.
    """

    value: float
    origin: str


def seed_sd(name: str, rows: RowMeasures, training_rows: int | None, fresh: Sequence[RowMeasures] = ()) -> SeedSd:
    """Return the standard deviation of a test metric between seeds.

    Those of accuracy and macro-F1 are assumed, and pooled with the measured one if there are fresh seeds. That of F1
    of entities, of a loss (also for a perplexity, whose test compares losses) or of a metric with a value per row is
    measured, or unknown. That of any other metric is unknown.

    Args:
        name: the metric's name without a split.
        rows: the test rows of the adapter.
        training_rows: number of rows of a training; None: unknown.
        fresh: the test rows of the trainings of one configuration with fresh seeds, the same rows in the same order.
    """
    score = seeds_score("loss" if name == "perplexity" else name, fresh, training_rows)
    if score is None:
        assumed = assumed_sd(name, rows, training_rows)
        return SeedSd(value=0.0, origin="unknown") if assumed is None else SeedSd(value=assumed, origin="assumed")
    from orchestrator.statistics.noise import SeedSource

    measured = f"measured with {len(fresh)} fresh seeds"
    pooled = score.seed_noise.source is SeedSource.POOLED
    return SeedSd(value=score.seed_noise.sd, origin=f"assumed, and {measured}" if pooled else measured)
