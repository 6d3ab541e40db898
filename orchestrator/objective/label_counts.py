"""The labels' part of a summary of the data: the mapping that was used, rows by class, and warnings."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.core.data import DataSummary
from orchestrator.core.errors import AssetError, DataError
from orchestrator.objective.labels import LabelReader
from orchestrator.objective.protocol import Splits

if TYPE_CHECKING:
    import datasets


def with_labels(splits: Splits, classes: Sequence[str], readers: Mapping[str, LabelReader], source: str) -> DataSummary:
    """Return the summary of ``splits`` with its labels.

    Args:
        splits: rows with a ``label`` that is a class id.
        classes: class names in the order of their ids.
        readers: the readers of the labels by shift set; the sweep's own data has an empty name.
        source: the data, for messages.

    Raises:
        DataError: the training rows hold one class alone.
    """
    by_name = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    by_name |= {f"shift/{name}": rows for name, rows in splits.shift.items()}
    counts = {name: _counts(rows, classes) for name, rows in by_name.items()}
    _require_two_classes(counts["train"], source)
    dropped = {
        f"shift/{name}: {why}" if name else why: number
        for name, reader in readers.items()
        for why, number in reader.dropped.items()
        if number
    }
    used: dict[str, str] = {}
    for reader in readers.values():
        used |= reader.used
    return replace(
        splits.summary,
        labels=used,
        label_counts=counts,
        dropped={**splits.summary.dropped, **dropped},
        warnings=(*splits.summary.warnings, *_warnings(counts)),
    )


@contextmanager
def in_shift_set(name: str) -> Iterator[None]:
    """Say of an error which shift set it concerns; an empty name is the sweep's own data."""
    try:
        yield
    except (DataError, AssetError) as error:
        if not name:
            raise
        raise type(error)(f"data.shift.{name}: {error}") from error


def _counts(rows: "datasets.Dataset", classes: Sequence[str]) -> dict[str, int]:
    counts = Counter(rows["label"][:])
    return {name: counts[index] for index, name in enumerate(classes)}


def _require_two_classes(train: Mapping[str, int], source: str) -> None:
    present = [name for name, count in train.items() if count]
    if len(present) < 2:
        raise DataError(
            f"{source}: all {sum(train.values())} training rows have the class {', '.join(present)}; a classifier "
            "needs rows of at least two classes. Check data.columns.label and data.labels."
        )


def _warnings(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a sentence for each split that lacks classes, and for each shift set that lacks rows."""
    found = [
        f"{name} has no row left: texts that are in train too are left out of it, so nothing is measured on it."
        for name, classes in counts.items()
        if name.startswith("shift/") and not any(classes.values())
    ]
    for split, effect in {
        "train": "no trial can learn them",
        "validation": "scores there say nothing of them",
        "test": "scores there say nothing of them",
    }.items():
        absent = [name for name, count in counts[split].items() if not count]
        if absent:
            found.append(f"{split} has no row of {', '.join(absent)}: {effect}, and macro-F1 leaves them out.")
    return found
