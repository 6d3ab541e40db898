"""Data sets made from the packaged BBC news by rules: entities in sentences, and questions with answers in the text.

The rules find every label, so the same rows are made everywhere. They are written to the cache at the first use; the
checksum of the file is fixed.
"""

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.assets.build_once import build_in_cache
from orchestrator.assets.fetch import verify

Row = dict[str, Any]

_ENTITIES = {
    "MONEY": r"[£$€]\d[\d.,]*\d?(?:\s?(?:bn|m|billion|million))?\b",
    "PERCENT": r"\b\d+(?:\.\d+)?(?:%| per cent| percent)",
    "WEEKDAY": r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b",
    "MONTH": r"\b(?:January|February|March|April|June|July|August|September|October|November|December)\b",
    "YEAR": r"\b(?:19|20)\d\d\b(?![.,]?\d|%)",
    "PERSON": r"\b(?:Mr|Mrs|Ms|Sir|Lord|Dr) [A-Z][a-z]+(?: [A-Z][a-z]+)?\b",
}
"""Pattern of each type of entity. Where patterns overlap, the first one counts."""
_SENTENCE = re.compile(r"(?<=[.!?]) +(?=[A-Z\"'])")
_SHORTEST, _LONGEST = 40, 400
"""Characters of a sentence with entities."""
_QUESTIONS = {
    "money": (r"[£$€]\d[\d,.]*\d?(?:bn|m|k)?\b", ("How much money is it?", "Which sum is named?")),
    "percentage": (r"\b\d+(?:\.\d+)?%", ("How many per cent?", "What is the percentage?")),
    "year": (r"\b(?:19|20)\d\d\b", ("In which year?", "Which year is meant?")),
    "weekday": (
        r"\b(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)\b",
        ("On which day?", "When in the week was it?"),
    ),
    "speaker": (
        r"(?<=said )[A-Z][a-z]+ [A-Z][a-z]+\b|\b[A-Z][a-z]+ [A-Z][a-z]+(?= said)",
        ("Who said so?", "Who is quoted?"),
    ),
}
"""Pattern of the answer, and the questions, by kind."""
_SENTENCES_OF_A_CONTEXT = 3
_NONE_SHARE = 0.2
"""Share of the questions without an answer."""


def find_entities(text: str) -> list[Row]:
    """Return the entities of a text as ``start``, ``end`` (in characters) and ``label``, in the order of the text."""
    found: list[tuple[int, int, str]] = []
    for label, pattern in _ENTITIES.items():
        for match in re.finditer(pattern, text):
            if all(match.end() <= start or match.start() >= end for start, end, _ in found):
                found.append((*match.span(), label))
    return [{"start": start, "end": end, "label": label} for start, end, label in sorted(found)]


def entity_rows(articles: Iterable[str]) -> Iterator[Row]:
    """Yield ``text``, ``entities`` and ``group`` (the article): sentences with an entity, and a quarter of the others.

    A sentence has 40 to 400 characters.
    """
    for article, text in enumerate(articles):
        for sentence in map(str.strip, _SENTENCE.split(" ".join(text.split()))):
            if _SHORTEST <= len(sentence) <= _LONGEST:
                entities = find_entities(sentence)
                if entities or len(sentence) % 4 == 0:
                    yield {"text": sentence, "entities": entities, "group": str(article)}


def question_rows(articles: Iterable[str]) -> Iterator[Row]:
    """Yield ``question``, ``context``, ``answers`` (as in SQuAD) and ``group`` (the article).

    A context has three sentences. A question asks for an amount of money, a percentage, a year, a weekday or a speaker.
    Exactly one place of the context answers it, or none, as in SQuAD 2.0.
    """
    draw = random.Random(1)  # noqa: S311  (the same rows everywhere are wanted, no secrets)
    for article, text in enumerate(articles):
        sentences = re.split(r"(?<=[.!?]) +", text)
        for start in range(0, len(sentences) - _SENTENCES_OF_A_CONTEXT + 1, _SENTENCES_OF_A_CONTEXT):
            context = " ".join(sentences[start : start + _SENTENCES_OF_A_CONTEXT])
            for question, answers in _questions(context, draw):
                yield {"question": question, "context": context, "answers": answers, "group": str(article)}


def _questions(context: str, draw: random.Random) -> Iterator[tuple[str, Row]]:
    """Yield questions on one context, each with its answers."""
    found = {kind: [*re.finditer(pattern, context)] for kind, (pattern, _) in _QUESTIONS.items()}
    absent = [kind for kind, spans in found.items() if not spans]
    for kind, spans in found.items():
        if len(spans) != 1:
            continue
        asked = draw.choice(_QUESTIONS[kind][1])
        yield asked, {"text": [spans[0][0]], "answer_start": [spans[0].start()]}
        if absent and draw.random() < _NONE_SHARE / (1 - _NONE_SHARE):
            asked = draw.choice(_QUESTIONS[absent.pop(draw.randrange(len(absent)))][1])
            yield asked, {"text": [], "answer_start": []}


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivedSet:
    """A data set made by rules.

    Attributes:
        rows: makes its rows from the texts of the articles.
        sha256: checksum of the rows as JSON Lines.
    """

    rows: Callable[[Iterable[str]], Iterator[Row]]
    sha256: str


DERIVED_SETS: Mapping[str, DerivedSet] = {
    "news-entities": DerivedSet(
        rows=entity_rows, sha256="d1eacf5640d9f6a90ec1dae3f66c1ed61701d2f860c8735e3b9cbb241f940a00"
    ),
    "news-questions": DerivedSet(
        rows=question_rows, sha256="616196063e1a108e52fb66b6c36d4e90bcf004aeefee18ced86a20a89af3e8cf"
    ),
}
"""The made data sets by name."""


def derived_news(name: str, articles: Callable[[], Iterable[str]]) -> list[Row]:
    """Return the rows of a made data set; make its file in the cache if it is absent.

    Args:
        name: a key of ``DERIVED_SETS``.
        articles: returns the texts of the news; called only to make the file.

    Raises:
        AssetError: the made file has another checksum, or the cache folder cannot be created.
    """
    derived = DERIVED_SETS[name]

    def make(scratch: Path) -> Path:
        lines = (json.dumps(row, ensure_ascii=False) for row in derived.rows(articles()))
        file = scratch / "made" / "rows.jsonl"
        file.parent.mkdir()
        file.write_bytes("".join(f"{line}\n" for line in lines).encode())
        verify(file, derived.sha256)
        return file.parent

    file = build_in_cache(f"{name}-{derived.sha256[:8]}", make) / "rows.jsonl"
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
