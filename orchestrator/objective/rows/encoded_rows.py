"""Encoded rows in Arrow files: read from a memory map, one row at a time."""

import functools
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from orchestrator.objective.protocol import Example

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

KEPT = 4096
"""Rows of one table kept as Python objects after their first use; validation rows are read at every report."""


class EncodedTable:
    """The examples in some Arrow files, which all processes of a machine share in memory.

    A file has one schema. An example has no key for a missing value. Keys added to the examples are objects of this
    process.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        """Map the files.

        Raises:
            OSError, pyarrow.ArrowInvalid: a file is missing or incomplete.
        """
        import pyarrow as pa

        self._batches: list[pa.RecordBatch] = []
        for file in files:
            reader = pa.ipc.open_file(pa.memory_map(str(file)))
            self._batches += [reader.get_batch(place) for place in range(reader.num_record_batches)]
        self._starts: list[int] = [0, *itertools.accumulate(batch.num_rows for batch in self._batches)]
        self._columns: list[dict[str, _Column] | None] = [None] * len(self._batches)
        self._kept: dict[int, Example] = {}
        self._added: dict[str, list[Any]] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    def example(self, place: int) -> Example:
        """Return one example, the same object at every call while at most ``KEPT`` were read."""
        kept = self._kept.get(place)
        if kept is None:
            batch = bisect_right(self._starts, place) - 1
            at = place - self._starts[batch]
            read = ((name, column.value(at)) for name, column in self._of(batch).items())
            added = ((name, values[place]) for name, values in self._added.items())
            kept = {name: value for name, value in (*read, *added) if value is not None}
            if len(self._kept) < KEPT:
                self._kept[place] = kept
        return kept

    def values(self, name: str) -> list[Any]:
        """Return the values of one key in all examples; None where it is missing."""
        if name in self._added:
            return [*self._added[name]]
        return [value for batch in self._batches for value in _values(batch, name)]

    def add(self, name: str, values: Mapping[int, Any]) -> None:
        """Add a key to the examples at some places."""
        added = self._added.setdefault(name, [None] * len(self))
        for place, value in values.items():
            added[place] = value
        self._kept.clear()

    def numbers(self, name: str) -> list[int | None]:
        """Return the values of one key in all examples if they are integers; None for other values."""
        import pyarrow as pa

        found: list[int | None] = []
        for batch in self._batches:
            kind = batch.column(name).type if name in batch.schema.names else pa.null()
            whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
            found += batch.column(name).to_pylist() if whole else [None] * batch.num_rows
        return found

    def lengths(self, name: str) -> "np.ndarray[Any, Any]":
        """Return the lengths of the lists under one key in all examples."""
        import numpy as np

        parts = [batch.column(name).value_lengths().to_numpy(zero_copy_only=False) for batch in self._batches]
        return np.concatenate(parts) if parts else np.zeros(0, np.int32)

    def sizes(self) -> "np.ndarray[Any, Any]":
        """Return the number of values in all lists of each example."""
        import numpy as np
        import pyarrow as pa

        total = np.zeros(len(self), np.int64)
        for batch, start in zip(self._batches, self._starts, strict=False):
            for column in batch.columns:
                if pa.types.is_list(column.type):
                    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
                    total[start : start + batch.num_rows] += lengths
        return total

    def has(self, name: str) -> bool:
        """Return whether any example may have a key."""
        return name in self._added or any(name in batch.schema.names for batch in self._batches)

    def _of(self, batch: int) -> "dict[str, _Column]":
        columns = self._columns[batch]
        if columns is None:
            content = self._batches[batch]
            columns = {name: _Column(content.column(name)) for name in content.schema.names}
            self._columns[batch] = columns
        return columns


class EncodedRows(Sequence[Example]):
    """Some examples of tables, by their places; a selection copies places only."""

    def __init__(self, parts: Sequence[tuple[EncodedTable, "np.ndarray[Any, Any]"]]) -> None:
        """Take tables and the places of their selected examples, one after another."""
        self._parts = [*parts]
        self._starts = [0, *itertools.accumulate(len(places) for _, places in self._parts)]

    @classmethod
    def of(cls, table: EncodedTable) -> "EncodedRows":
        """Return all examples of a table."""
        import numpy as np

        return cls([(table, np.arange(len(table)))])

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...

    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(f"place {place} of {len(self)} rows")
        place %= len(self)
        part = bisect_right(self._starts, place) - 1
        table, places = self._parts[part]
        return table.example(int(places[place - self._starts[part]]))

    def __iter__(self) -> Iterator[Example]:
        for table, places in self._parts:
            yield from map(table.example, places.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # compared by value, as a list

    def select(self, places: Iterable[int]) -> "EncodedRows":
        """Return the examples at some places, in their order."""
        import numpy as np

        wanted = np.fromiter(places, np.int64)
        if len(self._parts) == 1:
            table, own = self._parts[0]
            return EncodedRows([(table, own[wanted])])
        which = np.searchsorted(self._starts, wanted, side="right") - 1
        cuts = [*np.flatnonzero(np.diff(which)) + 1]
        chosen = []
        for group in np.split(wanted, cuts):
            part = bisect_right(self._starts, int(group[0])) - 1 if len(group) else 0
            table, own = self._parts[part]
            chosen.append((table, own[group - self._starts[part]]))
        return EncodedRows(chosen)

    def joined(self, others: "EncodedRows") -> "EncodedRows":
        """Return these examples and others after them."""
        return EncodedRows([*self._parts, *others._parts])

    def add(self, name: str, values: Sequence[Any]) -> None:
        """Add a key to the examples, one value for each; all selections of the tables have it then."""
        for (table, places), start in zip(self._parts, self._starts, strict=False):
            own = values[start : start + len(places)]
            table.add(name, dict(zip(places.tolist(), own, strict=True)))

    def values(self, name: str) -> list[Any]:
        """Return the values of one key; None where it is missing. No other key is read."""
        found = []
        for table, places in self._parts:
            values = table.values(name)
            found += [values[place] for place in places.tolist()]
        return found

    def numbers(self, name: str) -> list[int | None]:
        """Return the values of one key if they are integers; None for other values, which are not read."""
        found: list[int | None] = []
        for table, places in self._parts:
            values = table.numbers(name)
            found += [values[place] for place in places.tolist()]
        return found

    def lengths(self, name: str) -> list[int]:
        """Return the lengths of the lists under one key. No list is read."""
        return [int(length) for table, places in self._parts for length in table.lengths(name)[places].tolist()]

    def sizes(self) -> list[int]:
        """Return the number of values in all lists of each example. No list is read."""
        return [int(size) for table, places in self._parts for size in table.sizes()[places].tolist()]

    def has(self, name: str) -> bool:
        """Return whether any example may have a key."""
        return any(table.has(name) for table, _ in self._parts)


class _Column:
    """One key of a record batch. Lists of numbers are read through numpy, which is many times faster."""

    def __init__(self, column: "pa.Array") -> None:
        import pyarrow as pa

        self._column = column
        self._offsets: list[int] | None = None
        plain = pa.types.is_list(column.type) and column.null_count == 0
        kind = column.type.value_type if plain else column.type
        if plain and (pa.types.is_integer(kind) or pa.types.is_floating(kind)) and column.values.null_count == 0:
            self._offsets = column.offsets.to_pylist()
            self._values = column.values.to_numpy()

    def value(self, row: int) -> Any:  # noqa: ANN401  (the type of the stored value)
        """Return the value of a row as a plain Python object."""
        if self._offsets is None:
            return self._column[row].as_py()
        return self._values[self._offsets[row] : self._offsets[row + 1]].tolist()


def joined(parts: Iterable[Sequence[Example]]) -> Sequence[Example]:
    """Return the examples of several splits one after another; mapped ones stay mapped."""
    filled = [part for part in parts if len(part)]
    mapped = [part for part in filled if isinstance(part, EncodedRows)]
    if mapped and len(mapped) == len(filled):
        return functools.reduce(EncodedRows.joined, mapped)
    return [example for part in filled for example in part]


def add_values(examples: Sequence[Example], name: str, values: Sequence[Any]) -> None:
    """Add a key to examples, one value for each."""
    if isinstance(examples, EncodedRows):
        examples.add(name, values)
        return
    for example, value in zip(examples, values, strict=True):
        example[name] = value


def values_of(examples: Sequence[Example], name: str) -> list[Any]:
    """Return the values of one key; None where it is missing."""
    if isinstance(examples, EncodedRows):
        return examples.values(name)
    return [example.get(name) for example in examples]


def class_ids_of(examples: Sequence[Example]) -> list[int | None]:
    """Return the class id of each example; None if its labels are a list. No list is read."""
    if isinstance(examples, EncodedRows):
        return examples.numbers("labels")
    return [label if isinstance(label := example.get("labels"), int) else None for example in examples]


def lengths_of(examples: Sequence[Example]) -> list[int]:
    """Return the length of each example's input in tokens."""
    if isinstance(examples, EncodedRows):
        return examples.lengths("input_ids")
    return [len(example["input_ids"]) for example in examples]


def sizes_of(examples: Sequence[Example]) -> list[int]:
    """Return the number of values in all lists of each example, inputs and targets."""
    if isinstance(examples, EncodedRows):
        return examples.sizes()
    return [sum(len(values) for values in row.values() if isinstance(values, list)) for row in examples]


def _values(batch: "pa.RecordBatch", name: str) -> list[Any]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    values: list[Any] = batch.column(name).to_pylist()
    return values
