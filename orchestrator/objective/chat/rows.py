"""Rows of conversations: the columns that an objective and the splits read, and rows left out by reason."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.chat.messages import Message, Role, read_messages
from orchestrator.objective.rows.converted import Converted, RowPart, converted, row_parts
from orchestrator.objective.rows.slice_columns import kept_names

if TYPE_CHECKING:
    import datasets

MESSAGES = "messages"
"""Column with the conversation: a list of ``{"role": …, "content": …}`` that ends with an assistant turn."""
TEXT, ANSWER = "text", "answer"
"""Columns with the text before the last assistant turn, and this turn: splits compare rows by them."""
NO_ASSISTANT = "no assistant turn"
EMPTY_ASSISTANT = "empty assistant turn"
NO_USER = "no user turn before the first assistant turn"
TOOLS = "tool calls or their results"
"""Reasons for rows left out. Sweeps store them in their facts, so the texts stay."""
_FORMS = (("messages",), ("conversations",), ("prompt", "completion"))
_NAMED = 5
"""Most row numbers in one message."""


@dataclass(kw_only=True, slots=True)
class LeftOut:
    """Numbers of the rows left out, from 1, by reason."""

    rows: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def counts(self) -> dict[str, int]:
        """Return the number of rows by reason."""
        return {reason: len(rows) for reason, rows in self.rows.items()}

    def warnings(self, source: str) -> tuple[str, ...]:
        """Return one sentence for each reason, with the first row numbers."""
        return tuple(
            f"{source}: {len(rows):,} {'row' if len(rows) == 1 else 'rows'} left out, {reason}: row {_numbers(rows)}"
            for reason, rows in self.rows.items()
        )


@dataclass(kw_only=True, slots=True)
class _WrongRows:
    """Numbers of the rows with a wrong cell, from 1, by problem; only the first problems are held."""

    problems: dict[str, list[int]] = field(default_factory=dict)

    def add(self, problem: str, row: int) -> None:
        """Note the problem of a row."""
        if problem in self.problems or len(self.problems) < _NAMED:
            self.problems.setdefault(problem, []).append(row)

    def __str__(self) -> str:
        return "; ".join(f"row {_numbers(numbers)}: {problem}" for problem, numbers in self.problems.items())


def read_conversations(source: Source, columns: Mapping[str, str], left_out: LeftOut) -> "datasets.Dataset":
    """Return the conversations of a source; see ``MESSAGES``, ``TEXT`` and ``ANSWER`` for the columns.

    Turns after the last assistant turn are removed, because no loss depends on them. The columns ``group`` and
    ``slice/<name>`` are kept. Rows are converted in parts; see ``orchestrator.objective.rows.converted``.

    Args:
        source: has a column ``messages``, ``conversations``, or the columns ``prompt`` and ``completion``.
        columns: the source's column name by the objective's column name.
        left_out: gets the rows left out.

    Raises:
        DataError: a column is missing, or a cell has another form. The message names the first such rows.
    """
    rows, names = _read(source, columns)
    kept = kept_names(rows, columns, names)
    place = f"column {' and '.join(names)} of {source}"
    found, own = converted(rows, partial(_converted, rows, names, kept, place), "conversations", names, kept)
    for reason, numbers in own.items():
        left_out.rows[reason] += numbers
    return found


def _converted(
    rows: "datasets.Dataset", names: Sequence[str], kept: Mapping[str, str], place: str
) -> Iterator[Converted]:
    """Yield the conversations in parts.

    Raises:
        DataError: after the last part, if cells have another form.
    """
    import pyarrow as pa

    message = pa.struct({"role": pa.string(), "content": pa.string()})
    common, wrong = _has_common_system(rows, names), _WrongRows()
    for part in row_parts(rows, names, kept):
        found, left_out = dict[int, tuple[Message, ...]](), defaultdict[str, list[int]](list)
        for at, messages in enumerate(_conversations(part, names)):
            number = part.first + at + 1
            if isinstance(messages, DataError):
                wrong.add(str(messages), number)
            elif (reason := _reason(messages)) is not None:
                left_out[reason].append(number)
            else:
                found[at] = _until_answer(messages)
        texts = [_text(messages, without_system=common) for messages in found.values()]
        answers = [messages[-1].content for messages in found.values()]
        stored = [[message.to_json() for message in messages] for messages in found.values()]
        table: dict[str, pa.Array] = {
            TEXT: pa.array(texts, pa.string()),
            ANSWER: pa.array(answers, pa.string()),
            MESSAGES: pa.array(stored, pa.list_(message)),
            **part.kept_at([*found]),
        }
        yield Converted(table=pa.table(table), notes=left_out)
    if wrong.problems:
        raise DataError(f"{place}: {wrong}")


def _conversations(part: RowPart, names: Sequence[str]) -> "Iterator[tuple[Message, ...] | DataError]":
    """Yield the messages of each row, or the error of its cell."""
    for cell in zip(*(part.columns[name] for name in names), strict=True):
        try:
            yield _conversation(cell)
        except DataError as error:
            yield error


def _has_common_system(rows: "datasets.Dataset", names: Sequence[str]) -> bool:
    """Return whether all conversations have the same system messages, or none."""
    seen: set[tuple[str, ...]] = set()
    for part in row_parts(rows, names, {}):
        for messages in _conversations(part, names):
            if not isinstance(messages, DataError) and _reason(messages) is None:
                seen.add(tuple(m.content for m in _until_answer(messages) if m.role is Role.SYSTEM))
        if len(seen) > 1:
            return False
    return True


def _read(source: Source, columns: Mapping[str, str]) -> tuple["datasets.Dataset", tuple[str, ...]]:
    """Return the rows of a source and the names of the columns with the conversation."""
    # A CSV file has texts alone; without this, a column of numbers would be read as numbers.
    is_text = source.origin is Origin.LOCAL and source.name.lower().endswith((".csv", ".tsv"))
    rows = read_table(source, columns, text=("prompt", "completion") if is_text else ())
    for names in _FORMS:
        if {*names} <= {*rows.column_names}:
            return rows, names
    raise DataError(
        f"data.columns: a column messages, or the columns prompt and completion, are needed in {source} (columns: "
        f"{', '.join(rows.column_names)}). Set data.columns: {{messages: COLUMN}}"
    )


def _conversation(cell: Collection[object]) -> tuple[Message, ...]:
    if len(cell) == 1:
        [value] = cell
        if value is None:
            return ()
        messages = read_messages(value)
        if isinstance(value, str) and len(messages) == 1 and messages[0].content == value:
            raise DataError("a list of messages is needed, got a text")
        return messages
    prompt, completion = cell
    before = () if prompt is None else read_messages(prompt)
    return (*before, *(() if completion is None else read_messages(completion, Role.ASSISTANT)))


def _reason(messages: Sequence[Message]) -> str | None:
    """Return why a conversation is left out, or None."""
    roles = [message.role for message in messages]
    if Role.TOOL in roles:
        return TOOLS
    if Role.ASSISTANT not in roles:
        return NO_ASSISTANT
    if any(message.role is Role.ASSISTANT and not message.content.strip() for message in messages):
        return EMPTY_ASSISTANT
    asked = any(message.role is Role.USER and message.content.strip() for message in messages)
    return None if asked and roles.index(Role.USER) < roles.index(Role.ASSISTANT) else NO_USER


def _until_answer(messages: Sequence[Message]) -> tuple[Message, ...]:
    last = max(place for place, message in enumerate(messages) if message.role is Role.ASSISTANT)
    return tuple(messages[: last + 1])


def _text(messages: Sequence[Message], *, without_system: bool) -> str:
    """Return the text of a conversation before its last turn."""
    return "\n\n".join(m.content for m in messages[:-1] if not (without_system and m.role is Role.SYSTEM))


def _numbers(rows: Sequence[int]) -> str:
    more = len(rows) - _NAMED
    return ", ".join(map(str, rows[:_NAMED])) + (f" and {more} more" if more > 0 else "")
