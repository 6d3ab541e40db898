"""Adds the labels to a data summary: the mapping used, rows by class, and warnings."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.core.data import DataSummary
from orchestrator.core.errors import AssetError, DataError
from orchestrator.objective.labels.class_ids import LabelReader
from orchestrator.objective.labels.keys import absent_keys
from orchestrator.objective.protocol import Splits

if TYPE_CHECKING:
    import datasets

SMALL_CLASS = 20
"""A class with fewer rows in a split gets a warning. With 20 rows, a share has a 95 % interval of about ±0.2."""
_NAMED = 12
"""Most classes named in a warning."""


def summary_with_labels(splits: Splits, readers: Mapping[str, LabelReader], source: str) -> DataSummary:
    """Return the summary of ``splits``, extended by the labels.

    Args:
        splits: rows with a class id in column ``label``.
        readers: the label readers by shift set; "" is the sweep's own data. They hold the classes.
        source: the data's name, for messages.

    Raises:
        DataError: the training rows have only one class.
    """
    classes = tuple(readers[""].classes)
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
    absent = absent_keys([*readers[""].mapping], {value for each in readers.values() for value in each.values})
    used: dict[str, str] = {}
    for reader in readers.values():
        used |= reader.used
    return replace(
        splits.summary,
        labels=used,
        classes=classes,
        class_order=readers[""].class_order,
        label_counts=counts,
        dropped={**splits.summary.dropped, **dropped},
        warnings=(*splits.summary.warnings, *absent, *summary_warnings(counts)),
    )


@contextmanager
def errors_name_shift_set(name: str) -> Iterator[None]:
    """Prefix data errors in the block with the shift set's name; "" is the sweep's own data and adds no prefix."""
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


def summary_warnings(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Return a sentence for each split with absent or small classes, and for each empty shift set."""
    warnings = [
        f"{name} has no rows left: its texts also occur in train. There are no metrics for it."
        for name, classes in counts.items()
        if name.startswith("shift/") and not any(classes.values())
    ]
    for split, absence, scarcity in (
        ("train", "no trial can learn them", "trials hardly learn them"),
        ("validation", "its metrics do not cover them", "its metrics hardly measure them"),
        ("test", "its metrics do not cover them", "its metrics hardly measure them"),
    ):
        absent = [name for name, count in counts[split].items() if not count]
        if absent:
            warnings.append(f"{split} has no rows of {', '.join(absent)}: {absence}, and macro-F1 ignores them.")
        small = sorted((count, name) for name, count in counts[split].items() if 0 < count < SMALL_CLASS)
        if small:
            named = ", ".join(f"{name} ({count})" for count, name in small[:_NAMED])
            more = f" and {len(small) - _NAMED} more classes" if len(small) > _NAMED else ""
            # Without data.train, the training split already has all other rows.
            limit = "remove data.train if it is set" if split == "train" else f"raise data.{split}"
            warnings.append(
                f"{split} has fewer than {SMALL_CLASS} rows of {named}{more}: {scarcity}. Add rows, or {limit}."
            )
    return warnings
