"""Columns relevant for splitting, as lists over all rows."""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import DataError
from orchestrator.objective.rows.converted import values_in_parts
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits.draw import draw, keyed_hash
from orchestrator.objective.splits.rules import SplitRule

if TYPE_CHECKING:
    import datasets

BLANK = "blank text"
COPY = "copy of another row"
CONFLICT = "copies with different labels"
NO_LABEL = "no label"
NO_TARGET = "no target"
NEAR = "too similar to a {} row"
GROUP = "group stands in another split"
SURPLUS = "more rows than {} asks for"
"""Reasons for excluded rows. Sweeps store them in their facts, so the texts stay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Names of the columns relevant for splitting.

    Attributes:
        text: the column identifying a row.
        label: the column for stratification; None: not stratified.
        target: the column with the text to generate; None for tasks without one.
        stratify: whether splits have the proportions of the labels. Otherwise the label only tells copies apart.
        group: the column with a row's origin (a document, a person …), optional in the data; a group is never in two
            splits.
    """

    text: str = "text"
    label: str | None = "label"
    target: str | None = None
    stratify: bool = True
    group: str = "group"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Lists over all rows of a data set. Texts are hashes with the split's seed, so memory depends on no text's length.

    Attributes:
        copies: hash of each text as ``Forms.copy``; empty for a blank text.
        nears: hash of each text as ``Forms.near``.
        orders: hash of each text as ``Forms.order``.
        targets: hash of each normalised target; all equal if targets do not distinguish rows.
        labels: class, or vector of numbers, of each row; None without a label.
        stratify: whether draws have the proportions of the labels.
        units: key of each row's unit, the rows kept in one split: its group, or the rows with its text.
        unit_orders: hash of each row's unit.
        incomplete: reason by row number for unusable rows: no label or no target.
    """

    copies: list[bytes]
    nears: list[bytes]
    orders: list[bytes]
    targets: list[bytes]
    labels: list[Hashable]
    units: list[Hashable]
    unit_orders: list[bytes]
    incomplete: dict[int, str]
    stratify: bool = True

    @classmethod
    def read(cls, rows: "datasets.Dataset", columns: Columns, rule: SplitRule, seed: int) -> "Table":
        """Return the table of a data set; ``seed`` is the split's."""
        copies, nears, orders = list[bytes](), list[bytes](), list[bytes]()
        for form in map(rule.forms, row_texts(rows, columns.text)):
            copies.append(keyed_hash(seed, form.copy) if form.copy else b"")
            nears.append(keyed_hash(seed, form.near))
            orders.append(keyed_hash(seed, form.order))
        labels: list[Hashable] = [None] * len(copies)
        if columns.label is not None:
            labels = [tuple(label) if isinstance(label, list) else label for label in _labels(rows, columns, seed)]
        incomplete = {i: NO_LABEL for i, label in enumerate(labels) if label is None} if columns.label else {}
        targets = [keyed_hash(seed, "")] * len(copies)
        if columns.target is not None:
            for row, target in enumerate(values_in_parts(rows, columns.target)):
                written = "" if target is None else str(target).strip()
                if not written:
                    incomplete[row] = NO_TARGET
                if rule.target_counts:
                    targets[row] = keyed_hash(seed, unicodedata.normalize("NFC", written))
        groups: list[str | None] = [None] * len(copies)
        if columns.group in rows.column_names:
            values = values_in_parts(rows, columns.group)
            groups = [group_name(group) if rule.lone_rows else str(group) for group in values]
        grouped = [*enumerate(groups)]
        return cls(
            copies=copies,
            nears=nears,
            orders=orders,
            targets=targets,
            labels=labels,
            units=[("row", copies[row]) if group is None else group for row, group in grouped],
            unit_orders=[orders[row] if group is None else keyed_hash(seed, group) for row, group in grouped],
            incomplete=incomplete,
            stratify=columns.stratify,
        )

    def stratum(self, row: int) -> Hashable:
        """Return the label of a row, or None if draws are not stratified."""
        return self.labels[row] if self.stratify else None

    def clean(self) -> tuple[list[int], Counter[str]]:
        """Return the usable rows, and the number of excluded rows by reason.

        The first one of several copies is used; none of them if their labels differ.
        """
        dropped: Counter[str] = Counter()
        copies: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
        for row, copy in enumerate(self.copies):
            reason = self.incomplete.get(row) or (None if copy else BLANK)
            if reason is None:
                copies[copy, self.targets[row]].append(row)
            else:
                dropped[reason] += 1
        kept = []
        for rows in copies.values():
            if len({self.labels[row] for row in rows}) == 1:
                kept.append(rows[0])
                dropped[COPY] += len(rows) - 1
            else:
                dropped[CONFLICT] += len(rows)
        return kept, +dropped

    def ordered(self, rows: Iterable[int], *, grouped: bool = True) -> list[int]:
        """Return rows sorted by their hashes; if ``grouped``, by the hashes of their units first."""

        def key(row: int) -> tuple[bytes, ...]:
            unit = (self.unit_orders[row],) if grouped else ()
            return *unit, self.orders[row], self.copies[row], self.targets[row]

        return sorted(rows, key=key)

    def take(self, pool: list[int], size: int, split: str) -> tuple[list[int], list[int], Counter[str]]:
        """Return ``size`` stratified rows of ``pool``, the rows usable in other splits, and the excluded by reason."""
        chosen = draw(pool, size, self.stratum)
        taken, units = set(chosen), {self.units[row] for row in chosen}
        other_units = [row for row in pool if self.units[row] not in units]
        near = {self.nears[row] for row in chosen}
        usable = [row for row in other_units if self.nears[row] not in near]
        same_unit = len(pool) - len(taken) - len(other_units)
        return chosen, usable, +Counter({GROUP: same_unit, NEAR.format(split): len(other_units) - len(usable)})


def _labels(rows: "datasets.Dataset", columns: Columns, seed: int) -> Iterator[Any]:
    """Yield the labels; a text that only tells copies apart is a hash."""
    assert columns.label is not None, "the caller has checked it"
    for label in values_in_parts(rows, columns.label):
        yield keyed_hash(seed, label) if isinstance(label, str) and not columns.stratify else label


def refuse_overlap(splits: Sequence[tuple[str, Sequence[Hashable], Sequence[str]]]) -> None:
    """Raise ``DataError`` if two splits share a form.

    Args:
        splits: name, forms and texts of each split; a text is read for the message only.
    """
    seen: dict[Hashable, str] = {}
    for split, forms, texts in splits:
        for row, form in enumerate(forms):
            if seen.setdefault(form, split) != split:
                raise DataError(f"a row is in both {seen[form]} and {split}: {texts[row][:80]!r}")


def group_name(group: object) -> str | None:
    """Return a group's name; None for null, NaN and blank text."""
    missing = isinstance(group, float) and math.isnan(group)
    if group is None or missing or (isinstance(group, str) and not group.strip()):
        return None
    return str(group).strip()
