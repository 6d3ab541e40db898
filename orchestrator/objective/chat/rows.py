"""Rows of conversations: the columns that an objective and the splits read, and rows left out by reason."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.chat.messages import Message, Role, read_messages
from orchestrator.objective.slice_columns import kept_columns

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


def read_conversations(source: Source, columns: Mapping[str, str], left_out: LeftOut) -> "datasets.Dataset":
    """Return the conversations of a source; see ``MESSAGES``, ``TEXT`` and ``ANSWER`` for the columns.

    Turns after the last assistant turn are removed, because no loss depends on them. The columns ``group`` and
    ``slice/<name>`` are kept.

    Args:
        source: has a column ``messages``, ``conversations``, or the columns ``prompt`` and ``completion``.
        columns: the source's column name by the objective's column name.
        left_out: gets the rows left out.

    Raises:
        DataError: a column is missing, or a cell has another form. The message names the first such rows.
    """
    import datasets

    rows, names = _read(source, columns)
    cells = [*zip(*(rows[name][:] for name in names), strict=True)]
    found, wrong = {}, defaultdict[str, list[int]](list)
    for row, cell in enumerate(cells):
        try:
            messages = _conversation(cell)
        except DataError as error:
            wrong[str(error)].append(row + 1)
            continue
        reason = _reason(messages)
        if reason is None:
            found[row] = _until_answer(messages)
        else:
            left_out.rows[reason].append(row + 1)
    if wrong:
        problems = "; ".join(f"row {_numbers(numbers)}: {problem}" for problem, numbers in [*wrong.items()][:_NAMED])
        raise DataError(f"column {' and '.join(names)} of {source}: {problems}")
    kept = [*found]
    texts = _texts([*found.values()])
    table: dict[str, Sequence[object]] = {
        TEXT: texts,
        ANSWER: [messages[-1].content for messages in found.values()],
        MESSAGES: [[message.to_json() for message in messages] for messages in found.values()],
    }
    further = kept_columns(rows, columns, (*names, "group"))
    if "group" in rows.column_names:
        further["group"] = rows["group"][:]
    table |= {name: [values[row] for row in kept] for name, values in further.items()}
    return datasets.Dataset.from_dict(table)


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


def _texts(conversations: Sequence[Sequence[Message]]) -> list[str]:
    """Return the text of each conversation before its last turn, without a system message common to all of them."""
    systems = [tuple(m.content for m in messages if m.role is Role.SYSTEM) for messages in conversations]
    common = len({*systems}) < 2
    return [
        "\n\n".join(m.content for m in messages[:-1] if not (common and m.role is Role.SYSTEM))
        for messages in conversations
    ]


def _numbers(rows: Sequence[int]) -> str:
    more = len(rows) - _NAMED
    return ", ".join(map(str, rows[:_NAMED])) + (f" and {more} more" if more > 0 else "")
