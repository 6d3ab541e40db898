"""The measurement of a checkpoint on each row of a split."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class RowMeasures:
    """Predictions and losses of one checkpoint, by row in the order of the split.

    Attributes:
        losses: summed loss of each row.
        units: number of units of each row: 1 in classification, the predicted tokens in language modelling.
        predictions: predicted class of each row as an id; empty in a task without classes.
        references: true class of each row as an id; empty in a task without classes.
    """

    losses: tuple[float, ...]
    units: tuple[int, ...]
    predictions: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
