"""The columns that decide which rows are used and in which split, as lists over all rows."""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import DataError
from orchestrator.objective.splits.draw import draw, rank
from orchestrator.objective.splits.rules import Forms, SplitRule

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
"""Reasons for which rows are left out, as people read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Which columns say what a row is.

    Attributes:
        text: the column that identifies a row.
        label: the column whose shares every split keeps; None if there is none to keep.
        target: the column that a model learns to write; None if there is none.
        group: the column of what a row was taken from (a document, a person ...); a group never straddles two splits.
            Used if the data has it.
    """

    text: str = "text"
    label: str | None = "label"
    target: str | None = None
    group: str = "group"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Lists over all rows of a data set.

    Attributes:
        forms: the texts as the rule compares them.
        targets: the targets as the rule compares them; empty strings if they do not count.
        labels: class of each row; None if the task has none, or the row has none.
        units: name of what a row must not be parted from: its group, or the rows that have its text.
        unit_order: what is hashed to order the units.
        incomplete: reason by row for which it cannot be used: no label or no target.
    """

    forms: list[Forms]
    targets: list[str]
    labels: list[Hashable]
    units: list[Hashable]
    unit_order: list[str]
    incomplete: dict[int, str]

    @classmethod
    def read(cls, rows: "datasets.Dataset", columns: Columns, rule: SplitRule) -> "Table":
        """Return the table of a data set."""
        forms = [rule.forms(str(text) if text is not None else "") for text in rows[columns.text][:]]
        labels: list[Hashable] = [None] * len(forms) if columns.label is None else rows[columns.label][:]
        incomplete = {i: NO_LABEL for i, label in enumerate(labels) if label is None} if columns.label else {}
        targets = [""] * len(forms)
        if columns.target is not None:
            written = [None if target is None else str(target).strip() for target in rows[columns.target][:]]
            incomplete |= {i: NO_TARGET for i, target in enumerate(written) if not target}
            if rule.target_counts:
                targets = [unicodedata.normalize("NFC", target or "") for target in written]
        groups: list[str | None] = [None] * len(forms)
        if columns.group in rows.column_names:
            groups = [_group_name(group) if rule.lone_rows else str(group) for group in rows[columns.group][:]]
        pairs = [*zip(groups, forms, strict=True)]
        units: list[Hashable] = [("row", form.copy) if group is None else group for group, form in pairs]
        order = [form.order if group is None else group for group, form in pairs]
        return cls(forms=forms, targets=targets, labels=labels, units=units, unit_order=order, incomplete=incomplete)

    def clean(self) -> tuple[list[int], Counter[str]]:
        """Return the rows to keep, and how many are left out by reason.

        Copies are left out but for the first; all copies are left out if they disagree on the label.
        """
        dropped: Counter[str] = Counter()
        copies: dict[tuple[str, str], list[int]] = defaultdict(list)
        for row, form in enumerate(self.forms):
            reason = self.incomplete.get(row) or (None if form.copy else BLANK)
            if reason is None:
                copies[form.copy, self.targets[row]].append(row)
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

    def ordered(self, rows: Iterable[int], seed: int, *, grouped: bool = True) -> list[int]:
        """Return rows in the order of their hashes: units first, if they are to stay together."""

        def key(row: int) -> tuple[bytes, ...]:
            unit = (rank(seed, self.unit_order[row]),) if grouped else ()
            form = self.forms[row]
            return *unit, rank(seed, form.order), rank(seed, form.copy), rank(seed, self.targets[row])

        return sorted(rows, key=key)

    def take(self, left: list[int], size: int, split: str) -> tuple[list[int], list[int], Counter[str]]:
        """Return ``size`` stratified rows of ``left``, the rows free for other splits, and the losses by reason."""
        chosen = draw(left, size, self.labels.__getitem__)
        taken, units = set(chosen), {self.units[row] for row in chosen}
        apart = [row for row in left if self.units[row] not in units]
        near = {self.forms[row].near for row in chosen}
        free = [row for row in apart if self.forms[row].near not in near]
        parted = len(left) - len(taken) - len(apart)
        return chosen, free, +Counter({GROUP: parted, NEAR.format(split): len(apart) - len(free)})


def refuse_overlap(splits: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> None:
    """Raise ``DataError`` if two splits share a form; each split is given by name, forms and texts."""
    seen: dict[str, str] = {}
    for split, forms, texts in splits:
        for form, text in zip(forms, texts, strict=True):
            if seen.setdefault(form, split) != split:
                raise DataError(f"a row stands in both {seen[form]} and {split}: {text[:80]!r}")


def _group_name(group: Any) -> str | None:  # noqa: ANN401  (any value of a column)
    """Return a group's name; None for what says that there is none: null, NaN and blank text."""
    missing = isinstance(group, float) and math.isnan(group)
    if group is None or missing or (isinstance(group, str) and not group.strip()):
        return None
    return str(group).strip()
