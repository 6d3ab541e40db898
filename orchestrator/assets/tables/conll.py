"""Reads CoNLL files: a word and its tag on each line, and a blank line after each sentence."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.tables.content import read_text
from orchestrator.assets.tables.values import TaskColumns, table_of
from orchestrator.core.errors import DataError

if TYPE_CHECKING:
    import datasets

_TAG = re.compile(r"O|[BIESLU]-\S+")


def read_conll(path: Path, task: TaskColumns) -> "datasets.Dataset":
    """Return a row per sentence: ``tokens``, the first column, and ``tags``, the last one.

    Lines of documents (``-DOCSTART-``) and comments before a sentence (``# …`` without a tag at their end) are skipped.

    Args:
        path: the file, in UTF-8.
        task: the columns read by the task.

    Raises:
        DataError: a line has one column; the message names it.
    """
    tokens: list[list[str]] = [[]]
    tags: list[list[str]] = [[]]
    for number, line in enumerate(read_text(path, "CoNLL").split("\n"), start=1):
        cells = line.split()
        comment = line.startswith("#") and not tokens[-1] and not (len(cells) > 1 and _TAG.fullmatch(cells[-1]))
        if not cells or cells[0] == "-DOCSTART-":
            if tokens[-1]:
                tokens.append([])
                tags.append([])
            continue
        if comment:
            continue
        if len(cells) < 2:
            raise DataError(
                f"{path}: line {number} has one column, {line.strip()[:40]!r}; a word and its tag are needed"
            )
        tokens[-1].append(cells[0])
        tags[-1].append(cells[-1])
    if not tokens[-1]:
        tokens.pop()
        tags.pop()
    return table_of({"tokens": tokens, "tags": tags}, task, path)
