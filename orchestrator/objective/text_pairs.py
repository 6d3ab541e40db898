"""Rows with two texts: ``text`` and ``text_pair``, a premise and a hypothesis, for example."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets

PAIR = "text_pair"
"""The column with the second text. Rows are pairs if ``data.columns`` names it."""


def texts_of(columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the text columns: ``text``, and ``text_pair`` if ``data.columns`` names it."""
    return ("text", PAIR) if PAIR in columns else ("text",)


def row_texts(rows: "datasets.Dataset", text: str = "text") -> list[str]:
    """Return what identifies each row: its text, and its second text on a new line if the rows have pairs.

    Splits, near copies and leaks compare rows by it. Missing texts are empty.
    """
    first = ["" if value is None else str(value) for value in rows[text][:]]
    if PAIR not in rows.column_names:
        return first
    seconds = ["" if value is None else str(value) for value in rows[PAIR][:]]
    return [f"{one}\n{two}" if one.strip() and two.strip() else "" for one, two in zip(first, seconds, strict=True)]


def tokenizer_inputs(rows: "datasets.Dataset") -> tuple[Sequence[str], ...]:
    """Return the first arguments of a tokenizer: the texts, and the second texts if the rows have pairs."""
    return tuple(rows[name][:] for name in ("text", PAIR) if name in rows.column_names)
