"""The measurement of a checkpoint on a split: its metrics, and the values of each row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TextSpan = tuple[int, int, str]
"""A part of a text: its first character, the place after its last, and its type."""


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
        scores: values of each row by name, from the objective's ``row_scores``. A metric of the same name is their
            mean and increases with quality. Those of generated answers belong to the first rows alone.
        keys: a text per row that names its content, the same for every ``max_length``; empty without windows.
        answers: the generated answers to the first rows, or the best answer in each row's context, whatever its margin;
            empty in other tasks.
        class_sets: predicted classes of each row as ids; only in tasks with several labels per row.
        true_class_sets: true classes of each row as ids; only in these tasks.
        numbers: predicted numbers of each row by target; only in regression.
        true_numbers: true numbers of each row by target; only in regression.
        spans: predicted entities of each row, in order; only in tasks with entities, and empty if the measurement is
            not detailed.
        true_spans: true entities of each row, in the same form.
    """

    losses: tuple[float, ...]
    units: tuple[float, ...]
    predictions: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    logits: tuple[tuple[float, ...], ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    class_sets: tuple[tuple[int, ...], ...] = ()
    true_class_sets: tuple[tuple[int, ...], ...] = ()
    numbers: tuple[tuple[float, ...], ...] = ()
    true_numbers: tuple[tuple[float, ...], ...] = ()
    spans: tuple[tuple[TextSpan, ...], ...] = ()
    true_spans: tuple[tuple[TextSpan, ...], ...] = ()

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "RowMeasures":
        """Return the rows stored by ``dataclasses.asdict``."""
        values: dict[str, Any] = {name: _tuple(row) for name, row in stored.items() if name != "scores"}
        scores = {name: tuple(row) for name, row in stored.get("scores", {}).items()}
        return cls(**values, scores=scores)


def _tuple(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values as a tuple, and lists in it as tuples, at every depth."""
    return tuple(_tuple(value) if isinstance(value, list) else value for value in values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The metrics of one checkpoint on a split: ``loss``, ``accuracy`` ...; and the values of each row."""

    metrics: Mapping[str, float]
    rows: RowMeasures
