"""Words of a text, their first tokens, and windows over long texts.

A word is a run of letters and digits, a single other sign, or a single letter of a script without spaces between words
(Chinese, Japanese, Thai …). MLflow stores this file with a logged model, so it imports nothing of this project.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

_ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[\w\u0300-\u036f])+|[^\w\s]")
OVERLAP = 4
"""Consecutive windows share one ``OVERLAP``-th of their tokens."""
OUTSIDE = "O"
"""The tag of a word outside of entities."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """An entity: the first of its words or characters, the place after the last, and its type."""

    start: int
    end: int
    label: str


def words_of(text: str) -> list[tuple[int, int]]:
    """Return the first character of each word of a text, and the place after its last."""
    return [match.span() for match in WORD.finditer(text)]


def word_spans(spans: Sequence[Span], words: Sequence[tuple[int, int]]) -> list[Span]:
    """Return character spans as spans of words; a word belongs to the first span that holds a part of it."""
    found: list[Span] = []
    taken = 0
    for span in sorted(spans, key=lambda each: each.start):
        inside = [
            place
            for place, (start, end) in enumerate(words)
            if place >= taken and end > span.start and start < span.end
        ]
        if inside:
            taken = inside[-1] + 1
            found.append(Span(start=inside[0], end=taken, label=span.label))
    return found


def first_tokens(words: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]) -> list[int | None]:
    """Return the first token of each word; None if it has none, or the token begins in an earlier word.

    Args:
        words: characters of each word.
        offsets: characters of each token.
    """
    firsts: list[int | None] = []
    token, used = 0, -1
    for start, end in words:
        while token < len(offsets) and (offsets[token][1] <= start or offsets[token][0] == offsets[token][1]):
            token += 1
        own = token < len(offsets) and offsets[token][0] < end and token != used
        firsts.append(token if own else None)
        used = token if own else used
    return firsts


class Window(NamedTuple):
    """A part of a text in tokens: ``start`` to ``stop``, of which ``first`` to ``last`` are predicted."""

    start: int
    stop: int
    first: int
    last: int


def windows(tokens: int, capacity: int) -> list[Window]:
    """Return the windows over a text; each token is predicted once, by the window with most tokens on its shorter side.

    Args:
        tokens: length of the text.
        capacity: most tokens of a window, at least 2.
    """
    step = max(1, capacity - capacity // OVERLAP)
    starts = [0]
    while starts[-1] + capacity < tokens:
        starts.append(min(starts[-1] + step, tokens - capacity))
    borders = [
        0,
        *((later + earlier + capacity) // 2 for earlier, later in pairwise(starts)),
        tokens,
    ]
    return [
        Window(start, min(start + capacity, tokens), borders[number], borders[number + 1])
        for number, start in enumerate(starts)
    ]


def strict_spans(tags: Sequence[str]) -> list[Span]:
    """Return the entities of IOB2 tags, as seqeval's strict mode reads them: ``I-`` without its ``B-`` marks none."""
    spans: list[Span] = []
    start, label = 0, ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, name = tag.partition("-")
        if label and not (prefix == "I" and name == label):
            spans.append(Span(start=start, end=place, label=label))
            label = ""
        if prefix == "B":
            start, label = place, name
    return spans
