"""Finds the classes of a task in its column of labels, for objectives that state none.

The classes are the different values of the column. Values that differ only in case, spaces or Unicode composition
are one class, with the most frequent spelling as its name. ``data.labels`` renames and excludes values.

The order of the classes, which gives them their ids:

1. The column's own class names (``datasets.ClassLabel``) keep their order.
2. Otherwise, the classes named in ``data.labels`` come first, in the order of the sweep file.
3. The others follow: ``false`` before ``true``, whole numbers by value, all other names in alphabetical order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from orchestrator.core.errors import DataError
from orchestrator.core.tasks.labels import WHOLE, class_of, folded, mapping_key

MOST_CLASSES: Final = 1000
"""Most classes found in a column. A column with more values holds numbers, texts or ids."""
_OWN = "the data set's own order"
_MAPPED = "the order of data.labels"
_NUMBERS = "by number"
_NAMES = "by name"


def found_classes(
    written: Sequence[str], names: Sequence[str] | None, mapping: Mapping[str, str | None], place: str
) -> tuple[tuple[str, ...], str]:
    """Return the class names in the order of their ids, and the rule behind this order in words.

    Args:
        written: the values of the column as text; empty for a row without a label.
        names: the column's own class names.
        mapping: ``data.labels``: class name by value; None excludes its rows.
        place: the column and its source, for messages.

    Raises:
        DataError: there are fewer than two classes, or so many that the values cannot be labels.
    """
    keys = [*mapping]

    def named(value: str) -> str | None:
        chosen = class_of(mapping_key(value), keys)
        if chosen is not None:
            return mapping[keys[chosen]]
        return mapping_key(value) if names is None else value  # 1 and 1.0 are one class

    counts = Counter(name for value in written if (name := named(value)))
    stated = mapping.values() if names is None else map(named, names)
    first = _distinct([name for name in stated if name])
    rule = _OWN
    found = sorted(_spellings(counts, first), key=_order)
    if names is None:
        only_mapped = {*map(folded, found)} <= {*map(folded, first)}
        rule = _NUMBERS if all(map(_is_number, found)) else _NAMES
        rule = _MAPPED if only_mapped and first else f"{_MAPPED}, then {rule}" if first else rule
    classes = tuple(dict.fromkeys((*first, *(name for name in found if class_of(name, first) is None))))
    _check(classes, sum(counts.values()), place)
    return classes, rule


def _spellings(counts: Mapping[str, int], first: Sequence[str]) -> list[str]:
    """Return one name for each class: the spelling in ``first``, or else the most frequent one."""
    chosen = _distinct([*first, *sorted(counts, key=lambda name: (-counts[name], name))])
    present = {*map(folded, counts)}
    return [name for name in chosen if folded(name) in present]


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the first spelling of each name, in order."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(folded(name), name)
    return [*first.values()]


def _is_number(name: str) -> bool:
    return WHOLE.fullmatch(name) is not None


def _order(name: str) -> tuple[bool, Decimal, str, str]:
    number = Decimal(name) if _is_number(name) else Decimal(0)
    return not _is_number(name), number, folded(name), name


def _check(classes: Sequence[str], rows: int, place: str) -> None:
    if len(classes) < 2:
        values = f"only the value {classes[0]!r}" if classes else "no value"
        raise DataError(
            f"{place} has {values} in {rows} labelled rows; a classifier needs at least two classes. Check "
            "data.columns.label and data.labels."
        )
    if len(classes) > MOST_CLASSES or (len(classes) > 20 and len(classes) * 2 > rows):
        shown = ", ".join(repr(name[:40]) for name in classes[:3])
        raise DataError(
            f"{place} has {len(classes):,} different values in {rows:,} rows ({shown} …): they are not labels. A "
            f"column has at most {MOST_CLASSES:,} classes, with two rows each on average. Check data.columns.label."
        )
