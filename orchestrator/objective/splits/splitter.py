"""Splits rows into train, validation and test, and cleans shift sets.

Rows are ordered by a hash of the seed and their content. As a result, test and validation do not depend on the size
of train, a smaller train is a subset of a larger one, and new rows in a file move few of the old ones.

Test is drawn first, then validation, then train. Rows too similar to drawn rows leave the pool: test and validation
keep their sizes, and train becomes smaller. Shift sets exclude rows similar to train, so a shift set never changes
the training rows.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.core.data import DataPlan
from orchestrator.core.errors import DataError
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits.draw import draw, keyed_hash
from orchestrator.objective.splits.rules import rule_of
from orchestrator.objective.splits.table import GROUP, NEAR, SURPLUS, Columns, Table, refuse_overlap

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRows:
    """Three splits of one data set, and the number of excluded rows by reason.

    The sizes and the counts in ``dropped`` add up to the rows of the data set.
    """

    train: "datasets.Dataset"
    validation: "datasets.Dataset"
    test: "datasets.Dataset"
    dropped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Splitter(Columns):
    """Splits data sets. The columns identify a row, its label, target and group."""

    def split(self, rows: "datasets.Dataset", plan: DataPlan) -> SplitRows:
        """Return train, validation and test with the plan's sizes, each in the order of the hashes.

        Excluded are blank texts, rows without a label or target, copies, and all copies of a text with different
        labels.

        Raises:
            DataError: there are too few rows, or a text would be in two splits.
        """
        table = Table.read(rows, self, rule_of(plan.split_rule), plan.seed)
        pool, dropped = table.clean()
        sizes = {"test": plan.test, "validation": _validation_rows(plan, len(pool)), "train": plan.train}
        _check_sizes(sizes, len(pool), f"{plan.source} ({_count_text(len(rows), dropped)})")
        pool = table.ordered(pool)
        taken: dict[str, list[int]] = {}
        for split, size in sizes.items():
            available = len(pool)
            taken[split], pool, excluded = table.take(pool, available if size is None else size, split)
            if not taken[split] or (size is not None and len(taken[split]) < size):
                remedy = "ask for fewer rows"
                if dropped[GROUP]:
                    remedy += f", or name a column of smaller groups: data.columns: {{{self.group}: COLUMN}}"
                raise DataError(
                    f"{plan.source}: {split} needs {size or 1} rows and {available} are left "
                    f"({_count_text(len(rows), dropped)}); {remedy}"
                )
            if split != "train":
                dropped += excluded
        # Train is drawn last: its remaining rows are surplus, not excluded by similarity.
        dropped[SURPLUS.format("data.train")] += available - len(taken["train"])
        texts = {split: row_texts(rows.select(chosen), self.text) for split, chosen in taken.items()}
        refuse_overlap([(split, [table.nears[row] for row in taken[split]], texts[split]) for split in taken])
        return SplitRows(
            train=rows.select(taken["train"]),
            validation=rows.select(taken["validation"]),
            test=rows.select(taken["test"]),
            dropped=dict(+dropped),
        )

    def shift(
        self, rows: "datasets.Dataset", train: "datasets.Dataset", size: int, plan: DataPlan
    ) -> "tuple[datasets.Dataset, dict[str, int]]":
        """Return at most ``size`` rows of a shift set, stratified, and the number of excluded rows by reason.

        The rows are cleaned as in ``split``. Rows with the letters, marks and digits of a training row are excluded,
        short texts too: a shift set must not contain training rows.
        """
        rule = rule_of(plan.split_rule)
        table = Table.read(rows, self, rule, plan.seed)
        trained = {keyed_hash(plan.seed, rule.forms(text).order) for text in row_texts(train, self.text)}
        clean, dropped = table.clean()
        pool = [row for row in clean if table.orders[row] not in trained]
        drawn = draw(table.ordered(pool, grouped=False), size, table.stratum)
        dropped[NEAR.format("training")] += len(clean) - len(pool)
        dropped[SURPLUS.format("data.shift_rows")] += len(pool) - len(drawn)
        return rows.select(drawn), dict(+dropped)


def _validation_rows(plan: DataPlan, usable: int) -> int:
    """Return the number of validation rows: the plan's, or one fold of the rows that are not for the test split."""
    if not plan.equal_folds or plan.folds is None:
        return plan.validation
    rows = usable - plan.test
    if plan.train is not None:
        rows = min(rows, round(plan.train * plan.folds / (plan.folds - 1)))
    return max(1, rows // plan.folds)


def _count_text(total: int, dropped: Counter[str]) -> str:
    """Return the number of rows and of excluded rows: ``9 rows; excluded: blank text 2``."""
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in dropped.items())
    return f"{total:,} rows" + (f"; excluded: {reasons}" if reasons else "")


def _check_sizes(sizes: Mapping[str, int | None], available: int, source: str) -> None:
    for split, size in sizes.items():
        if size is not None and size < 1:
            raise DataError(f"{split} needs at least 1 row, got {size}")
    needed = sum(size if size is not None else 1 for size in sizes.values())
    if needed > available:
        parts = " + ".join(f"{split} {'at least 1' if size is None else f'{size:,}'}" for split, size in sizes.items())
        named = " or ".join(f"data.{split}" for split, size in sizes.items() if size is not None)
        remedy = f"Lower {named}" if available > len(sizes) else "Add rows"
        raise DataError(f"{parts} rows need {needed:,} rows; {source} has {available:,} usable rows. {remedy}.")
