"""Count the queries that code sends and the trial records that it reads: cost without a clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, ClassVar

from sqlalchemy import Engine, event

from orchestrator.core.trials.trial import TrialRecord


class CountedRecord(TrialRecord):
    """A trial record that counts the reads of its attributes, over all such records."""

    __slots__ = ()
    reads: ClassVar[int] = 0

    def __getattribute__(self, name: str) -> Any:
        CountedRecord.reads += 1
        return super().__getattribute__(name)


def counted(record: TrialRecord) -> CountedRecord:
    """Return the same record as one that counts; so are the records that ``replace`` makes of it."""
    return CountedRecord(**{field.name: getattr(record, field.name) for field in fields(record)})


class Reads:
    """The number of reads of counted records."""

    count = 0


@contextmanager
def record_reads() -> Iterator[Reads]:
    """Count the reads of counted records in the block; the number is complete after it."""
    reads, before = Reads(), CountedRecord.reads
    yield reads
    reads.count = CountedRecord.reads - before


@contextmanager
def statements() -> Iterator[list[str]]:
    """Gather the SQL statements of all engines in the block."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)
