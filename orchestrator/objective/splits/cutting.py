"""Cut rows into train, validation and test, and clean the sets of other distributions.

Rows are ordered by a hash of the split's seed and their own content, not by a shuffle of their positions. So test and
validation do not depend on the size of train, a smaller train is part of a larger one, and new rows in a file move
few of the old ones.

The test split is drawn first, then validation, then train. Rows too similar to those already drawn leave the pool, so
test and validation keep their sizes and train gives way. A shift set gives way to train: adding one never changes what
a sweep trains on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.data import SPLIT_RULE, DataPlan
from orchestrator.core.errors import DataError
from orchestrator.objective.splits.draw import draw
from orchestrator.objective.splits.rules import rule_of
from orchestrator.objective.splits.table import GROUP, NEAR, SURPLUS, Columns, Table, refuse_overlap

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Three splits of one data set, and how many rows are left out by reason.

    Every row read is in a split or counted: the sizes and the counts add up to the rows of the data set.
    """

    train: "datasets.Dataset"
    validation: "datasets.Dataset"
    test: "datasets.Dataset"
    dropped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cutting(Columns):
    """Cuts data sets by the columns that say what a row is."""

    def cut(self, rows: "datasets.Dataset", plan: DataPlan) -> Cut:
        """Return train, validation and test rows in the sizes of the plan, in the order of their hashes.

        Blank texts, rows without a label or target, and copies are left out, and every copy of a text whose copies
        disagree on the label.

        Raises:
            DataError: there are too few rows, or a text would stand in two splits.
        """
        table = Table.read(rows, self, rule_of(plan.split_rule))
        left, dropped = table.clean()
        wanted = {"test": plan.test, "validation": plan.validation, "train": plan.train}
        _check_sizes(wanted, len(left), f"{plan.source} ({_counted(len(rows), dropped)})")
        left = table.ordered(left, plan.seed)
        taken: dict[str, list[int]] = {}
        for split, size in wanted.items():
            before = len(left)
            taken[split], left, lost = table.take(left, before if size is None else size, split)
            if not taken[split] or (size is not None and len(taken[split]) < size):
                remedy = "ask for fewer rows"
                if dropped[GROUP]:
                    remedy += f", or name a column of smaller groups: data.columns: {{{self.group}: COLUMN}}"
                raise DataError(
                    f"{plan.source}: {split} needs {size or 1} rows and {before} are left "
                    f"({_counted(len(rows), dropped)}); {remedy}"
                )
            if split != "train":
                dropped += lost
        # What train does not take is not lost to another split: nothing is drawn after it.
        dropped[SURPLUS.format("data.train")] += before - len(taken["train"])
        kept = [(split, [table.forms[row] for row in chosen]) for split, chosen in taken.items()]
        refuse_overlap([(split, [f.near for f in forms], [f.copy for f in forms]) for split, forms in kept])
        return Cut(
            train=rows.select(taken["train"]),
            validation=rows.select(taken["validation"]),
            test=rows.select(taken["test"]),
            dropped=dict(+dropped),
        )

    def shift(
        self, rows: "datasets.Dataset", train: "datasets.Dataset", size: int, plan: DataPlan
    ) -> "tuple[datasets.Dataset, dict[str, int]]":
        """Return at most ``size`` rows of another distribution, stratified, and how many are left out by reason.

        The rows are cleaned as those of ``cut``. Rows too similar to a training row are left out: those with its
        letters, marks and digits, short ones too, for what is measured here must be foreign.
        """
        rule = rule_of(plan.split_rule)
        table = Table.read(rows, self, rule)
        trained = {rule.forms(str(text)).order for text in train[self.text][:]}
        clean, dropped = table.clean()
        left = [row for row in clean if table.forms[row].order not in trained]
        drawn = draw(table.ordered(left, plan.seed, grouped=False), size, table.labels.__getitem__)
        dropped[NEAR.format("training")] += len(clean) - len(left)
        dropped[SURPLUS.format("data.shift_rows")] += len(left) - len(drawn)
        return rows.select(drawn), dict(+dropped)


def verify_disjoint(splits: Mapping[str, Sequence[str]], version: int = SPLIT_RULE) -> None:
    """Raise ``DataError`` if a text, or one too similar to it, stands in two of the splits."""
    forms = rule_of(version).forms
    refuse_overlap([(split, [forms(text).near for text in texts], texts) for split, texts in splits.items()])


def _counted(total: int, dropped: Counter[str]) -> str:
    """Return how many rows there are and why some are left out: ``9 rows; left out: blank text 2``."""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in dropped.items())
    return f"{total:,} rows" + (f"; left out: {reasons}" if reasons else "")


def _check_sizes(wanted: Mapping[str, int | None], available: int, what: str) -> None:
    for split, size in wanted.items():
        if size is not None and size < 1:
            raise DataError(f"{split} needs at least 1 row, got {size}")
    needed = sum(size if size is not None else 1 for size in wanted.values())
    if needed > available:
        sizes = " + ".join(f"{split} {'all the rest' if size is None else size}" for split, size in wanted.items())
        raise DataError(f"{sizes} needs {needed} rows; {what} leaves {available}")
