"""The learning rate and the batch size to expect for LoRA on a base model, from measured ones.

``rates.csv`` holds the best learning rate of each measured pair of base model and rank. All of them are of LoRA with
alpha 32. Most come from a public table of 35 language models; the others are this project's own.

The expected rate is the mean of the known ones in the logarithm. A known rate weighs more, the closer its model's size
and its rank are:

    weight = exp(-(log(size ratio) / log 4)² / 2 - (log(rank ratio) / log 2)² / 2)

``python -m benchmarks.search.prior`` measures this rule on models whose rates are left out.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

ALPHA = 32.0
"""LoRA's alpha in the measurements."""
_SIZE_WIDTH, _RANK_WIDTH = math.log(4), math.log(2)
"""Widths of the kernel: a model of four times the size, or an adapter of twice the rank, weighs 0.6."""
_DIGITS = 2
"""Significant digits of the results: the data has no more, and the result does not depend on the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownRate:
    """A measured learning rate.

    Attributes:
        model: name of the base model.
        weights: number of its weights.
        rank: rank of the adapter.
        batch_size: rows per optimizer step; None: unknown.
        learning_rate: the best rate measured with this rank.
    """

    model: str
    weights: float
    rank: int
    batch_size: int | None
    learning_rate: float


def shipped_rates() -> tuple[KnownRate, ...]:
    """Return the rates of ``rates.csv``."""
    text = files(__package__).joinpath("rates.csv").read_text()
    return tuple(
        KnownRate(
            model=row["model"],
            weights=float(row["weights"]),
            rank=int(row["rank"]),
            batch_size=int(row["batch_size"]) if row["batch_size"] else None,
            learning_rate=float(row["learning_rate"]),
        )
        for row in csv.DictReader(io.StringIO(text))
    )


def expected_rate(known: Sequence[KnownRate], weights: int | None, rank: int) -> float:
    """Return the learning rate to expect.

    Args:
        known: measured rates, at least one.
        weights: number of weights of the base model; None: unknown, all sizes weigh the same.
        rank: rank of the adapter.
    """
    return _mean(
        (rate.learning_rate, _closeness(weights, rate) * _kernel(rate.rank / rank, _RANK_WIDTH)) for rate in known
    )


def expected_batch_size(known: Sequence[KnownRate], weights: int | None) -> float:
    """Return the batch size to expect, from the known ones of models of similar size; at least one must be known."""
    return _mean((rate.batch_size, _closeness(weights, rate)) for rate in known if rate.batch_size is not None)


def _closeness(weights: int | None, rate: KnownRate) -> float:
    return 1.0 if weights is None else _kernel(rate.weights / weights, _SIZE_WIDTH)


def _kernel(ratio: float, width: float) -> float:
    """Return the weight of a ratio, above zero for every possible ratio."""
    return max(math.exp(-((math.log(ratio) / width) ** 2) / 2), 1e-300)


def _mean(weighted: Iterable[tuple[float, float]]) -> float:
    """Return the weighted mean of numbers in the logarithm."""
    pairs = list(weighted)
    total = sum(weight for _, weight in pairs)
    mean = math.exp(sum(math.log(value) * weight for value, weight in pairs) / total)
    return float(f"{mean:.{_DIGITS}g}")
