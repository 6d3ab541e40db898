"""The data of a sweep for a user: rows, lengths in tokens, near-duplicates, examples. Nothing is trained or stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from orchestrator.assets.models import is_on_this_machine
from orchestrator.core.data import DataSummary
from orchestrator.objective.chat.messages import Message
from orchestrator.objective.chat.rows import ANSWER, MESSAGES, TEXT
from orchestrator.objective.loading import with_classes
from orchestrator.objective.protocol import Objective, Splits
from orchestrator.objective.rows.selection import first_rows
from orchestrator.objective.splits import NearCopy
from orchestrator.objective.truncation import token_lengths, tokenizer_of
from orchestrator.preparation.rows import (
    row_counts,
    shortest_max_length,
    with_language_warning,
    with_near_copies,
    with_row_counts,
)
from orchestrator.spec.sweep_spec import SweepSpec

if TYPE_CHECKING:
    import datasets

_QUANTILES = (0.5, 0.9, 0.99)
_CHARACTERS = 200
"""Most characters shown of one text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Lengths of the rows of one split, in tokens.

    Attributes:
        rows: number of rows measured, at most 2,000.
        shortest, median, p90, p99, longest: quantiles of these rows; each is the length of a row.
    """

    rows: int
    shortest: int
    median: int
    p90: int
    p99: int
    longest: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Self:
        """Return the quantiles of a list with at least one length."""
        ordered = sorted(lengths)
        median, p90, p99 = (ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in _QUANTILES)
        return cls(rows=len(ordered), shortest=ordered[0], median=median, p90=p90, p99=p99, longest=ordered[-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class DataView:
    """The rows of a sweep, in numbers and examples.

    Attributes:
        source: the source of the rows.
        model: the base model; its tokenizer counts the tokens.
        max_length: limit of a row in tokens, the smallest if it is searched.
        rows: number of rows by split.
        data_summary: rows by class, rows left out by reason, truncated rows, warnings.
        lengths: lengths in tokens by split; empty if the model is not on this machine.
        near_copies: all rows with a near-duplicate in another split.
        examples: the first training rows; long texts are shortened.
    """

    source: str
    model: str
    max_length: int
    rows: Mapping[str, int]
    data_summary: DataSummary
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    near_copies: tuple[NearCopy, ...] = ()
    examples: tuple[Mapping[str, object], ...] = ()


def data_view(spec: SweepSpec, objective: Objective, examples: int) -> DataView:
    """Read the rows of a sweep and return them in numbers and examples. No model is downloaded.

    Args:
        spec: the checked sweep file.
        objective: its objective.
        examples: number of training rows to show.

    Raises:
        AssetError: the data is not available, or the model's tokenizer cannot be loaded.
        DataError: the data breaks a rule, or ``max_length`` is too short for the objective's prompt.
    """
    splits, near_copies = with_near_copies(with_language_warning(objective.splits(spec.data), spec.model))
    objective = with_classes(objective, splits.summary.classes)
    lengths: dict[str, Lengths] = {}
    max_length = shortest_max_length(spec)
    if is_on_this_machine(spec.model):
        tokenizer = tokenizer_of(spec.model, objective.head)
        splits = with_row_counts(spec, objective, splits, tokenizer=tokenizer)
        measured = token_lengths(objective, splits, tokenizer, max_length)
        lengths = {name: Lengths.of(values) for name, values in measured.items() if values}
    return DataView(
        source=str(spec.data.source),
        model=str(spec.model),
        max_length=max_length,
        rows=row_counts(splits),
        data_summary=replace(splits.summary, max_length=max_length),
        lengths=lengths,
        near_copies=near_copies.pairs,
        examples=_examples(splits, objective, examples),
    )


def _examples(splits: Splits, objective: Objective, number: int) -> tuple[dict[str, object], ...]:
    rows = first_rows(splits.train, number)
    return tuple(_example(rows, row, objective.labels) for row in range(len(rows)))


def _example(rows: "datasets.Dataset", row: int, labels: Sequence[str]) -> dict[str, object]:
    """Return one row with the name of its class and short texts."""
    shown: dict[str, object] = dict(rows[row])
    label = shown.get("label")
    if labels and isinstance(label, int):
        shown["label"] = labels[label]
    if MESSAGES in shown:  # the conversation has the texts of these columns
        shown = {name: value for name, value in shown.items() if name not in {TEXT, ANSWER}}
        turns = [Message.from_json(message) for message in rows[row][MESSAGES]]
        shown[MESSAGES] = "\n".join(f"{turn.role}: {turn.content}" for turn in turns)
    return {name: _shortened(value) for name, value in shown.items()}


def _shortened(value: object) -> object:
    return f"{value[:_CHARACTERS]}…" if isinstance(value, str) and len(value) > _CHARACTERS else value
