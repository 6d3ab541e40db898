"""Reads rows with entities: columns of words and tags, or texts with character spans."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import Source
from orchestrator.core.errors import DataError
from orchestrator.core.tasks.labels import class_of, mapping_key
from orchestrator.objective.entities.entity_words import OUTSIDE, Span, word_spans, words_of
from orchestrator.objective.entities.tags import TagReader, is_iobes
from orchestrator.objective.rows.converted import Converted, RowPart, converted, row_parts
from orchestrator.objective.rows.slice_columns import kept_names

if TYPE_CHECKING:
    import datasets

_OWN = ("text", "entities", "tokens", "tags", "group")
_FORM = '{"start": 0, "end": 5, "label": "PERSON"}'


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeNames:
    """``data.labels``, with a record of the types and tags in the data.

    Attributes:
        names: type or tag by its value in the data; None excludes its entities.
        types: the types in the data.
        tags: the tags in the data: ``B-PER``.
    """

    names: Mapping[str, str | None]
    types: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)

    def name_of(self, value: str, *, is_type: bool = True) -> str | None:
        """Return the name of a type or a tag, or the value itself; record the value."""
        (self.types if is_type else self.tags).add(value)
        keys = [*self.names]
        place = class_of(mapping_key(value), keys)
        return value if place is None else self.names[keys[place]]

    def new_since(self, before: "TypeNames") -> dict[str, list[str]]:
        """Return the recorded types and tags that ``before`` lacks, and record them there."""
        new = {"types": sorted(self.types - before.types), "tags": sorted(self.tags - before.tags)}
        before.types.update(self.types)
        before.tags.update(self.tags)
        return new


def read_entities(source: Source, columns: Mapping[str, str], mapping: TypeNames) -> "datasets.Dataset":
    """Return the rows of a source with the columns ``text`` and ``entities``: a JSON list of ``[start, end, type]``.

    Words of a column ``tokens`` are joined by spaces. ``inexact`` is the number of a row's entities which begin or end
    inside a word; they get the whole word.

    Args:
        source: the source.
        columns: ``data.columns``.
        mapping: ``data.labels``; it records the types and tags of the data.

    Raises:
        DataError: a column is missing, or a row's tags or spans are invalid; the message names the row.
    """
    rows = read_table(source, columns)
    kept, own = kept_names(rows, columns, _OWN), TypeNames(names=mapping.names)
    if {"tokens", "tags"} <= {*rows.column_names}:
        names = getattr(getattr(rows.features["tags"], "feature", None), "names", None)
        tags = _Tags(names=names, mapping=own, source=source)
        form, parts = "tags", partial(_tagged, rows, kept, tags)
    elif {"text", "entities"} <= {*rows.column_names}:
        form, parts = "spans", partial(_marked, rows, kept, own, source)
    else:
        raise DataError(
            f"data.columns: {source} needs the columns tokens and tags, or text and entities (columns: "
            f"{', '.join(rows.column_names)}). Set data.columns: {{tokens: COLUMN, tags: COLUMN}}"
        )
    found, recorded = converted(rows, parts, "entities", form, kept, [*mapping.names.items()])
    mapping.types.update(recorded["types"])
    mapping.tags.update(recorded["tags"])
    return found


def _converted(
    texts: Sequence[str], spans: Sequence[Sequence[Span]], part: RowPart, new: Mapping[str, list[str]]
) -> Converted:
    import pyarrow as pa

    stored = [json.dumps([[each.start, each.end, each.label] for each in row]) for row in spans]
    inexact = [_inexact(text, row) for text, row in zip(texts, spans, strict=True)]
    table: dict[str, pa.Array] = {
        **part.kept,
        "text": pa.array(texts, pa.string()),
        "entities": pa.array(stored, pa.string()),
        "inexact": pa.array(inexact, pa.int64()),
    }
    return Converted(table=pa.table(table), notes=new)


def _marked(
    rows: "datasets.Dataset", kept: Mapping[str, str], mapping: TypeNames, source: Source
) -> Iterator[Converted]:
    """Yield the rows with character spans, in parts."""
    before = TypeNames(names={})
    for part in row_parts(rows, ["text", "entities"], kept):
        texts = [_text(value, number, source) for number, value in enumerate(part.columns["text"], part.first + 1)]
        given = enumerate(zip(texts, part.columns["entities"], strict=True), part.first + 1)
        spans = [_spans(text, value, mapping, f"{source}, row {number}") for number, (text, value) in given]
        yield _converted(texts, spans, part, mapping.new_since(before))


def stored_spans(stored: str) -> list[Span]:
    """Return the spans of a row's column ``entities``."""
    return [Span(start=start, end=end, label=label) for start, end, label in json.loads(stored)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tags:
    """Reads words and tags.

    Attributes:
        names: names of numbered tags; None: the data has none.
        mapping: ``data.labels``; it records the types and tags of the data.
        source: named in messages.
    """

    names: Sequence[str] | None
    mapping: TypeNames
    source: Source

    def of(self, part: RowPart) -> list[tuple[list[str], list[str]]]:
        """Return the words and the named tags of each row.

        Raises:
            DataError: a row has no lists, or lists of different lengths, or numbers without names.
        """
        words, tags = (
            [
                _listed(value, f"column {name} of {self.source}", row)
                for row, value in enumerate(part.columns[name], part.first + 1)
            ]
            for name in ("tokens", "tags")
        )
        for number, (some, given) in enumerate(zip(words, tags, strict=True), part.first + 1):
            if len(some) != len(given):
                raise DataError(
                    f"{self.source}, row {number}: {len(some)} tokens and {len(given)} tags; each token needs a tag"
                )
        named = ([_tag(tag, self.names, self.mapping, self.source) for tag in row] for row in tags)
        return [*zip(words, named, strict=True)]


def _tagged(rows: "datasets.Dataset", kept: Mapping[str, str], tags: _Tags) -> Iterator[Converted]:
    """Yield the rows with words and tags, in parts. Rows are read twice: first for the scheme of all tags."""
    columns, before = ["tokens", "tags"], TypeNames(names={})
    parts = row_parts(rows, columns, {})
    reader = TagReader(iobes=any(is_iobes(row) for part in parts for _, row in tags.of(part)))
    for part in row_parts(rows, columns, kept):
        texts, spans = [], []
        for number, (words, named) in enumerate(tags.of(part), part.first + 1):
            starts = [0]
            for word in words:
                starts.append(starts[-1] + len(word) + 1)
            texts.append(" ".join(words))
            found = reader.spans(number, named)
            spans.append([Span(start=starts[s.start], end=starts[s.end] - 1, label=s.label) for s in found])
        yield _converted(texts, spans, part, tags.mapping.new_since(before))
    reader.require_valid(f"column tags of {tags.source}")


def _listed(value: object, place: str, row: int) -> list[str]:
    """Return the items of a cell as text: a list, or text with spaces between them."""
    if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
        return [str(item).strip() for item in value]
    if isinstance(value, str):
        return value.split()
    if value is None:
        return []
    raise DataError(f"{place}, row {row}: a list of text is needed, got {str(value)[:60]!r}")


def _tag(tag: str, names: Sequence[str] | None, mapping: TypeNames, source: Source) -> str:
    if names is not None and tag.isdecimal() and int(tag) < len(names):
        tag = names[int(tag)]
    if tag == OUTSIDE:
        mapping.tags.add(tag)
        return tag
    named = _named_tag(tag, mapping)
    if named is not None and named.lstrip("-").isdecimal():
        raise DataError(
            f"column tags of {source} has numbers, and no names for them. Name them in data.labels: "
            "{0: O, 1: B-PERSON, 2: I-PERSON}"
        )
    return OUTSIDE if named is None else named


def _named_tag(tag: str, mapping: TypeNames) -> str | None:
    """Return the name of a tag by ``data.labels``: by that of the tag, or else by that of its type."""
    prefix, mark, label = tag.partition("-")
    is_type = not prefix or not mark
    named = mapping.name_of(tag, is_type=is_type)
    renamed = mapping.name_of(label) if not is_type else None  # also records the type
    if named != tag or is_type:
        return named
    return None if renamed is None else f"{prefix}-{renamed}"


def _text(value: object, row: int, source: Source) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise DataError(f"column text of {source}, row {row}: text is needed, got {str(value)[:60]!r}")


def _spans(text: str, value: Any, mapping: TypeNames, place: str) -> list[Span]:  # noqa: ANN401  (JSON)
    """Return the entities of one row, in order.

    Raises:
        DataError: a span has another form, lies outside the text, holds no word, or overlaps another one.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value or "[]")
        except ValueError as error:
            raise DataError(f"{place}: entities are not valid JSON: {error}") from error
    spans = [span for each in value or () if (span := _span(text, each, mapping, place)) is not None]
    spans.sort(key=lambda each: each.start)
    for one, other in pairwise(spans):
        if other.start < one.end:
            shown = f"{text[one.start : one.end]!r} ({one.label}) and {text[other.start : other.end]!r} ({other.label})"
            raise DataError(f"{place}: the entities {shown} overlap; a word has one type. Keep one of them")
    return spans


def _span(text: str, each: Any, mapping: TypeNames, place: str) -> Span | None:  # noqa: ANN401  (JSON)
    given = [each.get(name) for name in ("start", "end", "label")] if isinstance(each, dict) else each
    kinds = (int, int, str)
    if not isinstance(given, list | tuple) or len(given) != 3 or not all(map(isinstance, given, kinds)):
        raise DataError(f"{place}: an entity has the form {_FORM}, got {str(each)[:60]}")
    start, end, label = given
    if not 0 <= start < end <= len(text) or not words_of(text[start:end]) or not label.strip():
        raise DataError(
            f"{place}: the entity from character {start} to {end} with the type {label!r} is empty or outside of the "
            f"text of {len(text)} characters. The end is exclusive"
        )
    named = mapping.name_of(label.strip())
    return None if named is None else Span(start=start, end=end, label=named)


def _inexact(text: str, spans: Sequence[Span]) -> int:
    """Return the number of entities that do not begin and end with words."""
    words = words_of(text)
    whole = {(words[each.start][0], words[each.end - 1][1], each.label) for each in word_spans(spans, words)}
    trimmed = (_trimmed(text, each) for each in spans)
    return sum((start, end, label) not in whole for start, end, label in trimmed)


def _trimmed(text: str, span: Span) -> tuple[int, int, str]:
    """Return an entity without spaces around it."""
    inner = text[span.start : span.end]
    start = span.start + len(inner) - len(inner.lstrip())
    return start, start + len(inner.strip()), span.label
