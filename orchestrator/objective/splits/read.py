"""Reads an objective's data and returns its splits with row counts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.assets.data import reading_for
from orchestrator.core.data import DataPlan, DataSummary, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.text_pairs import row_texts
from orchestrator.objective.splits.splitter import Splitter

if TYPE_CHECKING:
    import datasets

Read = Callable[[Source, Mapping[str, str]], "datasets.Dataset"]
"""Returns the rows of a source; the mapping has the source's column name by the objective's column name."""


def read_splits(
    plan: DataPlan, read: Read, splitter: Splitter, left_out: Callable[[], Mapping[str, int]] = dict
) -> Splits:
    """Return the splits of a plan's sources, with a summary of used and excluded rows.

    Args:
        plan: the sources and sizes.
        read: reads one source.
        splitter: splits its rows.
        left_out: returns the number of rows left out by ``read`` so far, by reason; an error of too few rows names it.

    Raises:
        DataError: there are too few rows, or a text would be in two splits.
    """
    with reading_for(plan.split_rule):
        rows = read(plan.source, plan.columns)
        try:
            split = splitter.split(rows, plan)
        except DataError as error:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in left_out().items())
            if not reasons:
                raise
            raise DataError(f"{str(error).removesuffix('.')}. Rows left out before: {reasons}.") from error
        shift, dropped = {}, dict(split.dropped)
        for name, source in plan.shift.items():
            rows = read(source, shift_columns(source, plan))
            shift[name], excluded = splitter.shift(rows, split.train, plan.shift_rows, plan)
            dropped |= {f"shift/{name}: {reason}": number for reason, number in excluded.items()}
    splits = Splits(train=split.train, validation=split.validation, test=split.test, shift=shift)
    longest = {
        name: max(map(len, row_texts(rows, splitter.text)), default=0) for name, rows in splits.by_name().items()
    }
    return replace(splits, summary=DataSummary(dropped=dropped, longest=longest, split_rule=plan.split_rule))


def shift_columns(source: Source, plan: DataPlan) -> Mapping[str, str]:
    """Return the column names of a shift set: the plan's, or {} for packaged data with the objective's own names."""
    return {} if source.origin is Origin.PACKAGED else plan.columns
