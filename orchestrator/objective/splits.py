"""Cut rows into train, validation and test, and clean the sets of other distributions.

Rows are ordered by a hash of the split's seed and their own content, not by a shuffle of their positions. So test and
validation do not depend on the size of train, a smaller train is part of a larger one, and new rows in a file move
few of the old ones.
"""

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets


def normalised(text: str) -> str:
    """Return the form in which two texts count as the same: their letters and digits, in lower case.

    Published copies of one text differ in spacing and punctuation: of the 10,072 movie snippets, 61 are among the
    Rotten Tomatoes rows by spacing and case, 8,057 by letters and digits. A text without any keeps its other signs.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, plain)) or "".join(plain.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Cutting:
    """Which columns say what a row is.

    Attributes:
        text: the column that identifies a row; two rows with the same normalised text are copies.
        label: the column whose shares every split keeps; None if there is none to keep.
        group: the column of what a row was taken from (a document, a person ...); a group never straddles two splits.
            Used if the data has it.
    """

    text: str = "text"
    label: str | None = "label"
    group: str = "group"

    def cut(
        self, rows: "datasets.Dataset", plan: DataPlan
    ) -> "tuple[datasets.Dataset, datasets.Dataset, datasets.Dataset]":
        """Return train, validation and test rows in the sizes of the plan, in the order of their hashes.

        Blank texts and copies are left out, and every copy of a text whose copies disagree on the label.

        Raises:
            DataError: there are too few rows, or a text would stand in two splits.
        """
        table = _Table.read(rows, self)
        left, counts = table.clean()
        wanted = {"test": plan.test, "validation": plan.validation, "train": plan.train}
        _check_sizes(wanted, len(left), f"{plan.source} ({counts})")
        left.sort(key=lambda row: (_rank(plan.seed, table.groups[row]), _rank(plan.seed, table.texts[row])))
        taken: dict[str, list[int]] = {}
        for split, size in wanted.items():
            taken[split], left = table.take(left, size if size is not None else len(left))
            if not taken[split] or (size is not None and len(taken[split]) < size):
                raise DataError(
                    f"{plan.source}: {split} needs {size or 1} rows and {len(taken[split])} are left, because a group "
                    f"({self.group}) stands in one split alone; ask for fewer rows"
                )
        verify_disjoint({split: [table.texts[row] for row in kept] for split, kept in taken.items()})
        return rows.select(taken["train"]), rows.select(taken["validation"]), rows.select(taken["test"])

    def shift(self, rows: "datasets.Dataset", train: "datasets.Dataset", size: int, seed: int) -> "datasets.Dataset":
        """Return at most ``size`` rows of another distribution: cleaned, without texts that train holds, stratified."""
        table = _Table.read(rows, self)
        trained = {normalised(text) for text in train[self.text]}
        left = [row for row in table.clean()[0] if table.texts[row] not in trained]
        left.sort(key=lambda row: _rank(seed, table.texts[row]))
        return rows.select(_draw(left, size, table.labels.__getitem__))


def verify_disjoint(splits: Mapping[str, Sequence[str]]) -> None:
    """Raise ``DataError`` if a text, in its normalised form, stands in two of the splits."""
    seen: dict[str, str] = {}
    for split, texts in splits.items():
        for text in {normalised(text) for text in texts}:
            if seen.setdefault(text, split) != split:
                raise DataError(f"a row stands in both {seen[text]} and {split}: {text[:80]!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    """The three columns that splitting looks at, as lists over all rows."""

    texts: list[str]
    labels: list[Hashable]
    groups: list[str]

    @classmethod
    def read(cls, rows: "datasets.Dataset", columns: Cutting) -> "_Table":
        texts = [normalised(str(text)) if text is not None else "" for text in rows[columns.text]]
        labels: list[Hashable] = [None] * len(texts) if columns.label is None else [*rows[columns.label]]
        # Without groups, each text is a group of its own.
        groups = [str(group) for group in rows[columns.group]] if columns.group in rows.column_names else texts
        return cls(texts=texts, labels=labels, groups=groups)

    def clean(self) -> tuple[list[int], str]:
        """Return the rows to keep, and in words how many there were and why some are left out."""
        by_text: dict[str, list[int]] = defaultdict(list)
        for row, text in enumerate(self.texts):
            by_text[text].append(row)
        blank = len(by_text.pop("", ()))
        agreeing = [copies for copies in by_text.values() if len({self.labels[row] for row in copies}) == 1]
        conflicting = sum(map(len, by_text.values())) - sum(map(len, agreeing))
        copies = sum(len(rows) - 1 for rows in agreeing)
        words = f"{len(self.texts)} rows, of which {copies} copies, {conflicting} with two labels, {blank} blank"
        return [rows[0] for rows in agreeing], words

    def take(self, left: list[int], size: int) -> tuple[list[int], list[int]]:
        """Return ``size`` stratified rows of ``left``, and the rows of the groups that they do not come from."""
        chosen = _draw(left, size, self.labels.__getitem__)
        used = {self.groups[row] for row in chosen}
        return chosen, [row for row in left if self.groups[row] not in used]


def _draw(ordered: Sequence[int], size: int, label: Callable[[int], Hashable]) -> list[int]:
    """Return the first rows that fill each label's share of ``size``; shares are rounded by largest remainder."""
    if size >= len(ordered):
        return [*ordered]
    counts = Counter(map(label, ordered))
    exact = {name: size * count / len(ordered) for name, count in counts.items()}
    room = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (room[name] - exact[name], str(name)))
    for name in by_remainder[: size - sum(room.values())]:
        room[name] += 1
    chosen = []
    for row in ordered:
        if room[label(row)] > 0:
            room[label(row)] -= 1
            chosen.append(row)
    return chosen


def _rank(seed: int, content: str) -> bytes:
    return hashlib.blake2b(content.encode(), key=str(seed).encode(), digest_size=12).digest()


def _check_sizes(wanted: Mapping[str, int | None], available: int, what: Any) -> None:  # noqa: ANN401
    for split, size in wanted.items():
        if size is not None and size < 1:
            raise DataError(f"{split} needs at least 1 row, got {size}")
    needed = sum(size if size is not None else 1 for size in wanted.values())
    if needed > available:
        sizes = " + ".join(f"{split} {'all the rest' if size is None else size}" for split, size in wanted.items())
        raise DataError(f"{sizes} needs {needed} rows; {what} leaves {available}")
