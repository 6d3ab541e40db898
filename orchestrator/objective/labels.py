"""Read a column of labels into class ids, and refuse every value whose class is not certain.

A value names a class if it equals the name: exactly first, then without regard to case if that is unambiguous. A
whole number is a class id only if no class name is a number, the column has neither class names of its own nor other
words, ``data.labels`` gives no number a class, and the numbers cannot count from 1. A boolean is never an id.
``data.labels`` decides before all of this.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from orchestrator.core.errors import DataError
from orchestrator.core.labels import WHOLE, class_of, folded, mapping_key
from orchestrator.objective.label_hints import LONGEST_VALUE, hint, quoted

NO_LABEL: Final = "no label"
LEFT_OUT: Final = "data.labels leaves its label out"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_BOOLEANS = {"false": Decimal(0), "true": Decimal(1)}
_UNKNOWN: Final = -1
_MISSING: Final = -2
_OMITTED: Final = -3


@dataclass(kw_only=True, slots=True)
class LabelReader:
    """Reads the labels of a task's sources and keeps a record of what it did.

    Attributes:
        task: the objective's name, for messages.
        classes: class names in the order of their ids.
        mapping: the sweep file's ``data.labels``: class name by value in the data; None leaves the rows out.
        from_zero: numbers are known to count from 0, as other data of the same sweep shows.
        counted: whether a number was read as an id.
        used: class name by value in the data, as text, of all that was read.
        dropped: number of rows left out by reason.
        called: whether ``read`` was called.
    """

    task: str
    classes: Sequence[str]
    mapping: Mapping[str, str | None] = field(default_factory=dict)
    from_zero: bool = False
    used: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    called: bool = False
    counted: bool = False

    def __post_init__(self) -> None:
        """Write the numbers among the keys of ``mapping`` as the values are written: ``1.0`` is ``1``."""
        self.mapping = {mapping_key(key): name for key, name in self.mapping.items()}

    def read(self, values: Sequence[Any], names: Sequence[str] | None, place: str) -> list[int | None]:
        """Return the class id of each value; None for a row that is left out because it has no label.

        Args:
            values: the column. With ``names``, positions in them.
            names: the column's own class names (``datasets.ClassLabel``); there, -1 means no label.
            place: the column and its source, for messages.

        Raises:
            DataError: the class of a value is not certain, or no row has a label.
        """
        self.called = True
        values = [_plain(value) for value in values]
        _refuse_collections(values, self.task, place)
        if names is not None and [*names] == [str(index) for index in range(len(names))]:
            # ``ClassLabel(num_classes=3)`` counts, it does not name.
            names, values = None, [None if value == -1 else value for value in values]
        first: dict[tuple[type, Any], int] = {}
        keys = [(type(value), value) for value in values]
        for row, key in enumerate(keys):
            first.setdefault(key, row)
        found = {key: self._class_of(key[1], names) for key in first}
        if self._counts_from_zero and any(_is_word(key[1]) for key in first):  # beside words, numbers are no ids
            found |= {key: _UNKNOWN for key in first if found[key] >= 0 and not self._is_named(key[1], names)}
        unknown = {_written(key[1], names): row for key, row in first.items() if found[key] == _UNKNOWN}
        if unknown:
            named = [_written(key[1], names) for key in first if found[key] not in {_MISSING, _OMITTED}]
            real = any(_is_real(key[1]) for key in first if found[key] == _UNKNOWN)
            raise DataError(self._refusal(unknown, named, names, place, real=real))
        self._refuse_counting_from_one([key[1] for key in first if found[key] >= 0], names, place)
        counts = Counter(found[key] for key in keys)
        if values and counts[_MISSING] == len(values):
            raise DataError(f"{place} holds no label in any of {len(values)} rows; {self.task} needs one per row")
        if values and counts[_MISSING] + counts[_OMITTED] == len(values):
            raise DataError(
                f"{place}: data.labels leaves out all {counts[_OMITTED]} rows that have a label; give a value a class"
            )
        self.dropped.update({NO_LABEL: counts[_MISSING], LEFT_OUT: counts[_OMITTED]})
        self.used |= {_written(key[1], names): self.classes[index] for key, index in found.items() if index >= 0}
        return [None if found[key] < 0 else found[key] for key in keys]

    def _refuse_counting_from_one(self, values: Sequence[Any], names: Sequence[str] | None, place: str) -> None:
        """Refuse ids without a 0 if there are more than two classes: they may count from 1, and the last be absent."""
        ids = sorted({int(number) for value in values if (number := self._id_of(value, names)) is not None})
        self.counted = self.counted or bool(ids)
        if self.from_zero or len(self.classes) < 3 or not ids or ids[0] == 0:
            return
        either = [", ".join(f"{one}: {quoted(self.classes[one - base])}" for one in ids[:6]) for base in (1, 0)]
        more = ", …" if len(ids) > 6 else ""
        raise DataError(
            f"{place} holds numbers from {ids[0]} to {ids[-1]} and no 0; the {len(self.classes)} classes of "
            f"{self.task} can count from 1 or from 0. Either set data.labels: {{{either[0]}{more}}} or set "
            f"data.labels: {{{either[1]}{more}}}."
        )

    def _id_of(self, value: Any, names: Sequence[str] | None) -> Decimal | None:  # noqa: ANN401
        """Return the number that was read as an id; None for what names a class."""
        if names is not None or not self._counts_from_zero or self._is_named(value, names):
            return None
        return _number(value)

    def _is_named(self, value: Any, names: Sequence[str] | None) -> bool:  # noqa: ANN401
        written = _written(value, names)
        return (
            class_of(mapping_key(written), [*self.mapping]) is not None or class_of(written, self.classes) is not None
        )

    @property
    def _counts_from_zero(self) -> bool:
        """Whether numbers are ids, because no class name is a number."""
        return all(number_of(label, self.classes) is None for label in self.classes)

    def _class_of(self, value: Any, names: Sequence[str] | None) -> int:  # noqa: ANN401
        """Return the value's class id, or why it has none."""
        missing = _is_missing(value) or (names is not None and value == -1)
        written = _written(value, names)
        chosen = class_of(mapping_key(written), [*self.mapping])
        if chosen is not None:
            name = [*self.mapping.values()][chosen]
            index = _OMITTED if name is None else class_of(name, self.classes)
            if index is None:
                raise DataError(f"data.labels: {name!r} is no class of {self.task} ({', '.join(self.classes)})")
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
        # Beside other classes too, 1 most often stands for "true": its id must say the same.
        names = [folded(name) for name in self.classes]
        stated = _BOOLEANS.keys() <= {*names} and number in _BOOLEANS.values()
        return _UNKNOWN if stated and _BOOLEANS.get(names[int(number)]) != number else int(number)

    def _refusal(
        self, unknown: Mapping[str, int], named: Sequence[str], names: Sequence[str] | None, place: str, *, real: bool
    ) -> str:
        value, row = next(iter(unknown.items()))
        classes = ", ".join(self.classes)
        if real:
            return (
                f"{place} holds real numbers (row {row + 1}: {value}); {self.task} needs a class per row ({classes}), "
                f"and regression is not supported. {hint(named, self.classes)}"
            )
        value = value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"
        told = f"{place}: {value!r} (row {row + 1}) is no class of {self.task}"
        if len(unknown) > 1:
            told = f"{place}: {len(unknown)} values, {value!r} (row {row + 1}) first, are no classes of {self.task}"
        if names is not None:
            return (
                f"{told}. The column has the class names {', '.join(names)}; {self.task} has {classes}. "
                f"{hint(named, self.classes)}"
            )
        return f"{told}, whose classes are {classes}. {hint(named, self.classes)}"


_READER: ContextVar[LabelReader | None] = ContextVar("label reader", default=None)


@contextmanager
def reading(reader: LabelReader) -> Iterator[None]:
    """Let ``TextClassification.read`` use ``reader``, also when a task overrides it and calls the base."""
    token = _READER.set(reader)
    try:
        yield
    finally:
        _READER.reset(token)


def current_reader() -> LabelReader | None:
    """Return the reader of the ``reading`` block around this call, or None."""
    return _READER.get()


def number_of(label: str, classes: Sequence[str]) -> Decimal | None:
    """Return the number that a class name is; ``false`` and ``true`` are 0 and 1 if there are no other classes."""
    if {folded(name) for name in classes} == _BOOLEANS.keys():
        return _BOOLEANS[folded(label)]
    return Decimal(label) if _NUMBER.fullmatch(label) else None


def checked_ids(ids: Sequence[Any], classes: Sequence[str], task: str) -> list[int]:
    """Return class ids as they are; a task's own ``read`` or ``splits`` may have made them.

    Raises:
        DataError: one is not a whole number, or no class has it.
    """
    for row, value in enumerate(ids):
        plain = _plain(value)
        if type(plain) is not int or not 0 <= plain < len(classes):
            real = "; regression is not supported" if isinstance(plain, float | Decimal) else ""
            raise DataError(
                f"objective {task}: column label holds {str(plain)[:80]!r} (row {row + 1}, {type(plain).__name__}) "
                f"after it was read; a class id from 0 to {len(classes) - 1} is needed, an int{real}"
            )
    return [int(value) for value in ids]


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return a numpy scalar as a Python value, text without outer spaces, and NaN as None."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, str):
        return value.strip()
    return None if isinstance(value, float | Decimal) and value != value else value  # noqa: PLR0124  (NaN)


def _is_real(value: Any) -> bool:  # noqa: ANN401
    """Return whether a value is a number with decimals, also if it is written as text."""
    if isinstance(value, str):
        return "." in value and _NUMBER.fullmatch(value) is not None
    return isinstance(value, float | Decimal)


def _is_missing(value: Any) -> bool:  # noqa: ANN401
    return value is None or value == ""


def _is_word(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and not _is_missing(value) and _number(value) is None


def _written(value: Any, names: Sequence[str] | None) -> str:  # noqa: ANN401
    """Return a value as text, as a person would write it in ``data.labels``.

    None is empty text, not ``None``, which a class may be called.
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


def _number(value: Any) -> Decimal | None:  # noqa: ANN401
    """Return the number that a value is, also if it is written as text; None for booleans and infinities."""
    if isinstance(value, str):
        whole = WHOLE.fullmatch(value)
        return None if whole is None else Decimal(whole[1])
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None


def _refuse_collections(values: Sequence[Any], task: str, place: str) -> None:
    for row, value in enumerate(values):
        if isinstance(value, tuple) or not isinstance(value, Hashable):
            raise DataError(
                f"{place} holds lists or mappings (row {row + 1}: {str(value)[:80]}); {task} gives each row one class, "
                "so one label per row is needed"
            )
