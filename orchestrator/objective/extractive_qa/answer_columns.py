"""Reads questions, contexts and answers, in the forms of SQuAD or in flat columns."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedAnswers:
    """The answers of a row.

    Attributes:
        texts: the answers' texts; empty: the context has no answer.
        starts: their first characters in the context.
        unsure: whether an answer without a place occurs several times; its first occurrence is used.
    """

    texts: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    unsure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerColumns:
    """The columns of a source with its answers.

    The column ``answers`` holds ``{text: […], answer_start: […]}``, a list of ``{text, answer_start}``, or either of
    them in JSON notation. Without it, ``answer`` and, optionally, ``answer_start`` hold one answer per row. Null, no
    text and an empty list mean: the context has no answer.

    Attributes:
        names: the columns to read, by the objective's names.
        place: the column and its source, for messages.
    """

    names: tuple[str, ...]
    place: str

    @classmethod
    def of(cls, names: Collection[str], columns: Mapping[str, str], source: Source) -> Self:
        """Return the columns of a source.

        Args:
            names: of all columns.
            columns: the source's column name by name, for messages.
            source: named in messages.

        Raises:
            DataError: there is no such column.
        """
        if "answers" not in names and "answer" not in names:
            raise DataError(
                f"data.columns: {source} has neither a column 'answers' nor 'answer' (columns: {', '.join(names)}). "
                "Set data.columns: {answers: COLUMN}, or {answer: COLUMN, answer_start: COLUMN}."
            )
        found = ("answers",) if "answers" in names else tuple(n for n in ("answer", "answer_start") if n in names)
        return cls(names=found, place=f"column {columns.get(found[0], found[0])} of {source}")

    def locate(self, values: Mapping[str, Sequence[Any]], first: int = 0) -> list[LocatedAnswers]:
        """Return the answers of some rows, each found at its place in the context.

        Args:
            values: those of ``context`` and of ``names``, by column.
            first: number of rows before them, for messages.

        Raises:
            DataError: an answer does not stand at its place in the context.
        """
        contexts = values["context"]
        if self.names == ("answers",):
            written = [_pairs(cell, self._at(row)) for row, cell in enumerate(values["answers"], first)]
        else:
            starts = values.get("answer_start", [None] * len(contexts))
            written = [[(text, start)] for text, start in zip(values["answer"], starts, strict=True)]
        rows = enumerate(zip(written, contexts, strict=True), first)
        return [_found(pairs, context or "", self._at(row)) for row, (pairs, context) in rows]

    def _at(self, row: int) -> str:
        return f"{self.place} (row {row + 1})"


def _pairs(written: object, place: str) -> list[tuple[object, object]]:
    """Return a cell's answers with their places."""
    cell: Any = written
    if isinstance(cell, str) and cell.strip():
        try:
            cell = json.loads(cell)
        except ValueError as error:
            raise DataError(
                f"{place} has {cell[:60]!r}, not JSON: {error}. Write {{'text': […], 'answer_start': […]}} as JSON, or "
                "name columns of plain texts: data.columns: {answer: COLUMN, answer_start: COLUMN}."
            ) from error
    if cell is None or cell == "":
        return []
    if isinstance(cell, dict):
        texts, starts = cell.get("text"), cell.get("answer_start")
        texts = texts if isinstance(texts, list) else [texts]
        starts = starts if isinstance(starts, list) else [starts] * len(texts)
        if len(starts) not in {0, len(texts)}:
            raise DataError(f"{place} has {len(texts)} texts and {len(starts)} values of answer_start; one per text")
        return [*zip(texts, starts or [None] * len(texts), strict=True)]
    if isinstance(cell, list) and all(isinstance(one, dict) for one in cell):
        return [(one.get("text"), one.get("answer_start")) for one in cell]
    raise DataError(f"{place} has {str(cell)[:60]!r}; {{text: […], answer_start: […]}} is needed")


def _found(pairs: Sequence[tuple[object, object]], context: str, place: str) -> LocatedAnswers:
    """Return the answers at their places; answers without text are omitted."""
    texts, starts, unsure = [], [], False
    for text, start in pairs:
        if text is None or text == "":
            continue
        if not isinstance(text, str):
            raise DataError(f"{place} has {str(text)[:60]!r} as an answer; a text is needed")
        at = _number(start, place)
        if at is None:
            at = context.find(text)
            unsure = unsure or context.find(text, at + 1) >= 0
            if at < 0:
                raise DataError(f"{place}: the answer {text[:60]!r} is not in its context; copy it from there")
        elif context[at : at + len(text)] != text:
            there, elsewhere = context[at : at + len(text)], context.find(text)
            hint = "not in the context" if elsewhere < 0 else f"at character {elsewhere}"
            raise DataError(
                f"{place}: answer_start {at} has {there[:40]!r}, and the answer {text[:40]!r} is {hint}. Count "
                "characters of the context from 0 (not bytes or tokens), or leave out answer_start."
            )
        texts.append(text)
        starts.append(at)
    return LocatedAnswers(texts=tuple(texts), starts=tuple(starts), unsure=unsure)


def _number(start: object, place: str) -> int | None:
    """Return a place as an int; None if it is missing."""
    if start is None or start == "" or str(start) == "nan":
        return None
    try:
        number = float(str(start))
    except ValueError:
        number = -1.0
    if number < 0 or number != int(number):
        raise DataError(f"{place}: answer_start must be a whole number of at least 0, got {str(start)[:40]!r}")
    return int(number)


def squad_file(source: Source) -> "datasets.Dataset | None":
    """Return the rows of local files with SQuAD's nested form, one per question; None for other sources.

    The columns are ``id``, ``title``, ``context``, ``question`` and ``answers``, in versions 1.1 and 2.0.

    Raises:
        DataError: a file is incomplete.
    """
    import datasets

    paths = [Path(name).expanduser() for name in source.name.split("\n")]
    if source.origin is not Origin.LOCAL or not all(path.suffix == ".json" and path.is_file() for path in paths):
        return None
    rows: list[dict[str, Any]] = []
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError:
            return None  # the reader of tables names the place of the error
        articles = content.get("data") if isinstance(content, dict) else None
        if not isinstance(articles, list) or not all(isinstance(one, dict) and "paragraphs" in one for one in articles):
            return None
        rows += [row for article in articles for row in _questions(article, path)]
    if not rows:
        raise DataError(f"{source} has no questions")
    columns: Any = {name: datasets.Value("string") for name in ("id", "title", "context", "question")}
    columns["answers"] = {
        "text": datasets.List(datasets.Value("string")),
        "answer_start": datasets.List(datasets.Value("int64")),
    }
    return datasets.Dataset.from_list(rows, features=datasets.Features(columns))


def _questions(article: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    title = article.get("title")
    try:
        return [
            {
                "id": asked.get("id"),
                "title": title,
                "context": paragraph["context"],
                "question": asked["question"],
                "answers": {
                    "text": [answer["text"] for answer in asked.get("answers", ())],
                    "answer_start": [answer["answer_start"] for answer in asked.get("answers", ())],
                },
            }
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: the article {title!r} does not have the form of SQuAD: {error} is missing") from error
