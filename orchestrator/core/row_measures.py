"""The measurement of a checkpoint on a split: its metrics, and the values of each row."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RowMeasures:
    """Losses and predictions of one checkpoint, by row in the order of the split.

    Attributes:
        losses: summed loss of each row.
        units: weight of each row in the mean loss: 1 in classification, the predicted tokens in language modelling.
        predictions: predicted class of each row as an id; empty in a task without classes.
        references: true class of each row as an id; empty in a task without classes.
        tokens: input tokens of each row after truncation; empty if the measurement is not detailed.
        logits: logits of each row by class, rounded to 4 decimals; empty in a task without classes, or if the
            measurement is not detailed.
    """

    losses: tuple[float, ...]
    units: tuple[float, ...]
    predictions: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    logits: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The metrics of one checkpoint on a split: ``loss``, ``accuracy`` ...; and the values of each row."""

    metrics: Mapping[str, float]
    rows: RowMeasures
