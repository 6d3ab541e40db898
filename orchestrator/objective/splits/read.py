"""Read an objective's data and return its splits with their counts: what the bases of objectives share."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.assets.data import reading_for
from orchestrator.core.data import DataPlan, DataSummary, Origin, Source
from orchestrator.objective.protocol import Splits
from orchestrator.objective.splits.cutting import Cutting

if TYPE_CHECKING:
    import datasets

Read = Callable[[Source, Mapping[str, str]], "datasets.Dataset"]
"""Returns the rows of a source; the mapping gives the source's names of the objective's columns."""


def read_splits(plan: DataPlan, read: Read, cutting: Cutting) -> Splits:
    """Read the plan's sources with ``read``, cut them, and count what is used and left out."""
    with reading_for(plan.split_rule):
        cut = cutting.cut(read(plan.source, plan.columns), plan)
        shift, dropped = {}, dict(cut.dropped)
        for name, source in plan.shift.items():
            rows, lost = cutting.shift(read(source, shift_columns(source, plan)), cut.train, plan.shift_rows, plan)
            shift[name] = rows
            dropped |= {f"shift/{name}: {reason}": number for reason, number in lost.items()}
    splits = Splits(train=cut.train, validation=cut.validation, test=cut.test, shift=shift)
    longest = {
        split: max((len(text) for text in rows[cutting.text][:]), default=0) for split, rows in splits.by_name().items()
    }
    return replace(splits, summary=DataSummary(dropped=dropped, longest=longest, split_rule=plan.split_rule))


def shift_columns(source: Source, plan: DataPlan) -> Mapping[str, str]:
    """Return the column names for a shift set: the plan's, except that packaged data has our names already."""
    return {} if source.origin is Origin.PACKAGED else plan.columns
