"""Rows with two texts: ``text`` and ``text_pair``, a premise and a hypothesis, for example."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import datasets

PART = 200
"""Rows read at a time."""
PAIR = "text_pair"
"""The column with the second text. Rows are pairs if ``data.columns`` names it."""


def texts_of(columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the text columns: ``text``, and ``text_pair`` if ``data.columns`` names it."""
    return ("text", PAIR) if PAIR in columns else ("text",)


class RowTexts(Sequence[str]):
    """What identifies each row: its text, and its second text on a new line if the rows have pairs.

    Splits, near-duplicates and leaks compare rows by it. Missing texts are empty. The texts are read in parts, so
    memory does not grow with the number of rows.
    """

    def __init__(self, rows: "datasets.Dataset", text: str = "text") -> None:
        """Take rows with a column ``text``, and possibly ``text_pair``."""
        names = [text, *([PAIR] if PAIR in rows.column_names else [])]
        self._names = names
        self._rows = rows.select_columns(names)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...

    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return self._of(self._rows[place])
        at = range(len(self))[place]
        return self._of(self._rows[at : at + 1])[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), PART):
            yield from self._of(self._rows[start : start + PART])

    def _of(self, columns: Mapping[str, Sequence[object]]) -> list[str]:
        first, *others = (["" if value is None else str(value) for value in columns[name]] for name in self._names)
        if not others:
            return first
        pairs = zip(first, others[0], strict=True)
        return [f"{one}\n{two}" if one.strip() and two.strip() else "" for one, two in pairs]


def row_texts(rows: "datasets.Dataset", text: str = "text") -> RowTexts:
    """Return what identifies each row; see ``RowTexts``."""
    return RowTexts(rows, text)


def tokenizer_inputs(rows: "datasets.Dataset") -> tuple[Sequence[str], ...]:
    """Return the first arguments of a tokenizer: the texts, and the second texts if the rows have pairs."""
    return tuple(rows[name][:] for name in ("text", PAIR) if name in rows.column_names)
