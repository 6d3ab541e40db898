"""Converts a column of labels to class ids. A value without a certain class is an error.

The rules, in this order:

1. ``data.labels`` maps the value.
2. The value equals a class name; case is ignored if the result is unambiguous.
3. A whole number is a class id, if no class name is a number, the column has neither class names of its own nor other
   words, ``data.labels`` maps no number to a class, and the numbers cannot count from 1. A boolean is never an id.
"""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from orchestrator.core.errors import DataError
from orchestrator.core.tasks.labels import WHOLE, class_of, folded, mapping_key
from orchestrator.objective.labels.found_classes import found_classes
from orchestrator.objective.labels.hints import LONGEST_VALUE, hint, quoted

NO_LABEL: Final = "no label"
LEFT_OUT: Final = "data.labels leaves its label out"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_BOOLEANS = {"false": Decimal(0), "true": Decimal(1)}
_UNKNOWN: Final = -1
_MISSING: Final = -2
_OMITTED: Final = -3


@dataclass(kw_only=True, slots=True)
class LabelReader:
    """Reads the labels of a task's sources and records the mapping used.

    Attributes:
        task: the objective's name, for messages.
        classes: class names in the order of their ids; empty: the first ``read`` finds them in its column.
        class_order: the rule behind their order, in words; empty unless they were found.
        mapping: the sweep file's ``data.labels``: class name by value in the data; None excludes the rows.
        from_zero: whether other data of the same sweep shows ids counting from 0.
        counted: whether a number was read as an id.
        used: class name by value in the data, as text, for all values read.
        dropped: number of excluded rows by reason.
        values: all values read, as text.
        called: whether ``read`` was called.
    """

    task: str
    classes: Sequence[str]
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    from_zero: bool = False
    used: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    values: set[str] = field(default_factory=set)
    called: bool = False
    counted: bool = False
    class_order: str = ""

    def __post_init__(self) -> None:
        """Normalise the numbers among the keys of ``mapping``: ``1.0`` becomes ``1``."""
        self.mapping = {mapping_key(key): name for key, name in self.mapping.items()}

    def read(self, values: Sequence[object], names: Sequence[str] | None, place: str) -> list[int | None]:
        """Return the class id of each value; None for an excluded row.

        Args:
            values: the column; indices into ``names`` if it is given.
            names: the column's own class names (``datasets.ClassLabel``); -1 then means no label.
            place: the column and its source, for messages.

        Raises:
            DataError: the class of a value is uncertain, or no row has a label.
        """
        self.called = True
        values = [_plain(value) for value in values]
        _refuse_collections(values, self.task, place)
        self.values |= {_written(value, names) for _, value in {(type(value), value) for value in values}}
        if names is not None and [*names] == [str(index) for index in range(len(names))]:
            # ``ClassLabel(num_classes=3)`` has numbers for names.
            names, values = None, [None if value == -1 else value for value in values]
        if not self.classes:
            self._find_classes(values, names, place)
        first: dict[tuple[type, object], int] = {}
        keys = [(type(value), value) for value in values]
        for row, key in enumerate(keys):
            first.setdefault(key, row)
        class_ids = {key: self._class_of(key[1], names) for key in first}
        if self._counts_from_zero and any(_is_word(key[1]) for key in first):  # numbers among words are not ids
            class_ids |= {key: _UNKNOWN for key in first if class_ids[key] >= 0 and not self._is_named(key[1], names)}
        unknown = {_written(key[1], names): row for key, row in first.items() if class_ids[key] == _UNKNOWN}
        if unknown:
            labelled = [_written(key[1], names) for key in first if class_ids[key] not in {_MISSING, _OMITTED}]
            real = any(_is_real(key[1]) for key in first if class_ids[key] == _UNKNOWN)
            raise DataError(self._unknown_message(unknown, labelled, names, place, real=real))
        self._refuse_counting_from_one([key[1] for key in first if class_ids[key] >= 0], names, place)
        counts = Counter(class_ids[key] for key in keys)
        if values and counts[_MISSING] == len(values):
            raise DataError(f"{place}: none of {len(values)} rows has a label; {self.task} needs one per row")
        if values and counts[_MISSING] + counts[_OMITTED] == len(values):
            raise DataError(
                f"{place}: data.labels excludes all {counts[_OMITTED]} rows with a label; map a value to a class"
            )
        self.dropped.update({NO_LABEL: counts[_MISSING], LEFT_OUT: counts[_OMITTED]})
        self.used |= {_written(key[1], names): self.classes[index] for key, index in class_ids.items() if index >= 0}
        return [None if class_ids[key] < 0 else class_ids[key] for key in keys]

    def _find_classes(self, values: Sequence[object], names: Sequence[str] | None, place: str) -> None:
        fraction = next((row for row, value in enumerate(values) if _is_fraction(value)), None)
        if fraction is not None:
            raise DataError(
                f"{place} has real numbers (row {fraction + 1}: {values[fraction]}); {self.task} needs a class per "
                "row. For numbers, set objective: regression; otherwise name another column in data.columns.label."
            )
        written = ["" if names is not None and value == -1 else _written(value, names) for value in values]
        self.classes, self.class_order = found_classes(written, names, self.mapping, place)

    def _refuse_counting_from_one(self, values: Sequence[object], names: Sequence[str] | None, place: str) -> None:
        """Raise ``DataError`` for ids without a 0 and more than two classes: they may count from 1."""
        ids = sorted({int(number) for value in values if (number := self._id_of(value, names)) is not None})
        self.counted = self.counted or bool(ids)
        if self.from_zero or len(self.classes) < 3 or not ids or ids[0] == 0:
            return
        either = [", ".join(f"{one}: {quoted(self.classes[one - base])}" for one in ids[:6]) for base in (1, 0)]
        more = ", …" if len(ids) > 6 else ""
        raise DataError(
            f"{place} has numbers from {ids[0]} to {ids[-1]} and no 0; the {len(self.classes)} classes of "
            f"{self.task} may count from 1 or from 0. Either set data.labels: {{{either[0]}{more}}} or set "
            f"data.labels: {{{either[1]}{more}}}."
        )

    def _id_of(self, value: object, names: Sequence[str] | None) -> Decimal | None:
        """Return the value as an id; None if the value names a class."""
        if names is not None or not self._counts_from_zero or self._is_named(value, names):
            return None
        return _number(value)

    def _is_named(self, value: object, names: Sequence[str] | None) -> bool:
        written = _written(value, names)
        return (
            class_of(mapping_key(written), [*self.mapping]) is not None or class_of(written, self.classes) is not None
        )

    @property
    def _counts_from_zero(self) -> bool:
        """Whether numbers can be ids: no class name is a number."""
        return all(number_of(label, self.classes) is None for label in self.classes)

    def _class_of(self, value: object, names: Sequence[str] | None) -> int:
        """Return the value's class id, or one of ``_UNKNOWN``, ``_MISSING`` and ``_OMITTED`` (all < 0)."""
        missing = _is_missing(value) or (names is not None and value == -1)
        written = _written(value, names)
        chosen = class_of(mapping_key(written), [*self.mapping])
        if chosen is not None:
            name = [*self.mapping.values()][chosen]
            index = _OMITTED if name is None else class_of(name, self.classes)
            if index is None:
                raise DataError(f"data.labels: {name!r} is not a class of {self.task} ({', '.join(self.classes)})")
            return index
        if missing:
            return _MISSING
        by_name = class_of(written, self.classes)
        if by_name is not None:
            return by_name
        number = _number(value) if names is None else None
        return _UNKNOWN if number is None else self._class_of_number(number)

    def _class_of_number(self, number: Decimal) -> int:
        numbers = [number_of(label, self.classes) for label in self.classes]
        if numbers.count(number) == 1:
            return numbers.index(number)
        numbered = all(label[:1].isdigit() for label in self.classes)  # "1 star", "2 stars"
        mapped = any(WHOLE.fullmatch(key) and name is not None for key, name in self.mapping.items())
        if numbered or mapped or not self._counts_from_zero:
            return _UNKNOWN
        if number != int(number) or not 0 <= number < len(self.classes):
            return _UNKNOWN
        # With classes "false" and "true", 1 most often means "true": its id must agree.
        names = [folded(name) for name in self.classes]
        stated = _BOOLEANS.keys() <= {*names} and number in _BOOLEANS.values()
        return _UNKNOWN if stated and _BOOLEANS.get(names[int(number)]) != number else int(number)

    def _unknown_message(
        self,
        unknown: Mapping[str, int],
        labels: Sequence[str],
        names: Sequence[str] | None,
        place: str,
        *,
        real: bool,
    ) -> str:
        value, row = next(iter(unknown.items()))
        classes = ", ".join(self.classes)
        if real:
            return (
                f"{place} has real numbers (row {row + 1}: {value}); {self.task} needs a class per row ({classes}). "
                f"For numbers, set objective: regression. {hint(labels, self.classes)}"
            )
        value = value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
        problem = f"{place}: {value!r} (row {row + 1}) is not a class of {self.task}"
        if len(unknown) > 1:
            problem = f"{place}: {len(unknown)} values are not classes of {self.task}, first {value!r} (row {row + 1})"
        column = f"The column has the class names {', '.join(names)}. " if names is not None else ""
        return f"{problem}. {column}The classes are {classes}. {hint(labels, self.classes)}"


_READER: ContextVar[LabelReader | None] = ContextVar("label reader", default=None)


@contextmanager
def reading(reader: LabelReader) -> Iterator[None]:
    """Make ``TextClassification.read`` use ``reader`` in this block, also if called from a task's own ``read``."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


def current_reader() -> LabelReader | None:
    """Return the reader of the enclosing ``reading`` block, or None."""
    return _READER.get()


def number_of(label: str, classes: Sequence[str]) -> Decimal | None:
    """Return a class name as a number, or None; if ``false`` and ``true`` are the only classes, they are 0 and 1."""
    if {folded(name) for name in classes} == _BOOLEANS.keys():
        return _BOOLEANS[folded(label)]
    return Decimal(label) if _NUMBER.fullmatch(label) else None


def check_class_ids(ids: Sequence[object], classes: Sequence[str], task: str) -> list[int]:
    """Return ``ids`` as ints in [0, number of classes). They may come from a task's own ``read`` or ``splits``.

    Raises:
        DataError: a value is not an integer in this range.
    """
    checked = []
    for row, value in enumerate(ids):
        plain = _plain(value)
        if type(plain) is not int or not 0 <= plain < len(classes):
            real = ". For numbers, set objective: regression" if isinstance(plain, float | Decimal) else ""
            raise DataError(
                f"objective {task}: column label has {str(plain)[:80]!r} (row {row + 1}, {type(plain).__name__}) "
                f"after reading; a class id from 0 to {len(classes) - 1} is needed, an int{real}"
            )
        checked.append(plain)
    return checked


def _plain(value: object) -> object:
    """Return a numpy scalar as a Python value, text without outer spaces, and NaN as None."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, str):
        return value.strip()
    is_nan = (isinstance(value, float) and math.isnan(value)) or (isinstance(value, Decimal) and value.is_nan())
    return None if is_nan else value


def _is_real(value: object) -> bool:
    """Return whether a value is a number with decimals, as a number or as text."""
    if isinstance(value, str):
        return "." in value and _NUMBER.fullmatch(value) is not None
    return isinstance(value, float | Decimal)


def _is_fraction(value: object) -> bool:
    """Return whether a value is a number, or a number as text, that is not whole."""
    number = Decimal(str(value)) if _is_real(value) else Decimal(0)
    return not number.is_finite() or number % 1 != 0


def _is_missing(value: object) -> bool:
    return value is None or value == ""


def _is_word(value: object) -> bool:
    return isinstance(value, str) and not _is_missing(value) and _number(value) is None


def _written(value: object, names: Sequence[str] | None) -> str:
    """Return a value as text, in the notation of a key of ``data.labels``.

    None becomes an empty text: ``None`` may be the name of a class.
    """
    if value is None:
        return ""
    if names is not None and type(value) is int and 0 <= value < len(names):
        return names[value]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal) and value == value // 1:
        return str(int(value))
    return str(value)


def _number(value: object) -> Decimal | None:
    """Return a number or a number written as text; None for other values, booleans and infinities."""
    if isinstance(value, str):
        whole = WHOLE.fullmatch(value)
        return None if whole is None else Decimal(whole[1])
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def _refuse_collections(values: Sequence[object], task: str, place: str) -> None:
    for row, value in enumerate(values):
        if isinstance(value, tuple) or not isinstance(value, Hashable):
            raise DataError(
                f"{place} has lists or mappings (row {row + 1}: {str(value)[:80]}); {task} needs one label "
                "per row. For several labels, set objective: multi_label"
            )
