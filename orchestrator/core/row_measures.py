"""The measurement of a checkpoint on a split: its metrics, and the values of each row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


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
        values: values of each row by metric, for metrics that are means over the rows.
    """

    losses: tuple[float, ...]
    units: tuple[float, ...]
    predictions: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    logits: tuple[tuple[float, ...], ...] = ()
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the rows stored by ``dataclasses.asdict`` as JSON; missing keys have their default.

        Raises:
            KeyError, TypeError, AttributeError: the JSON has another form.
        """
        by_row = {name: tuple(values) for name, values in stored.items() if name not in {"logits", "values"}}
        logits = tuple(tuple(row) for row in stored.get("logits", ()))
        values = {name: tuple(each) for name, each in stored.get("values", {}).items()}
        return cls(**by_row, logits=logits, values=values)

    def share(self, metric: str) -> tuple[float, ...] | None:
        """Return 1 for right and 0 for wrong rows, if the metric is the share of right rows; None for others."""
        if metric == "accuracy" and self.references:
            pairs = zip(self.predictions, self.references, strict=True)
            return tuple(float(given == true) for given, true in pairs)
        values = self.values.get(metric)
        return values if values and {*values} <= {0.0, 1.0} else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The metrics of one checkpoint on a split: ``loss``, ``accuracy`` ...; and the values of each row."""

    metrics: Mapping[str, float]
    rows: RowMeasures
