"""Rows made from the packaged BBC news by rules: entities in sentences, and questions with answers in the text."""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
Articles = Mapping[str, Sequence[str]]
"""Articles as the columns ``text``, ``headline`` and ``label`` (the topic)."""

_ENTITIES = {
    "MONEY": r"[£$€]\d[\d.,]*\d?(?:\s?(?:bn|m|billion|million))?\b",
    "PERCENT": r"\b\d+(?:\.\d+)?(?:%| per cent| percent)",
    "WEEKDAY": r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b",
    "MONTH": r"\b(?:January|February|March|April|June|July|August|September|October|November|December)\b",
    "YEAR": r"\b(?:19|20)\d\d\b(?![.,]?\d|%)",
    "PERSON": r"\b(?:Mr|Mrs|Ms|Sir|Lord|Dr) [A-Z][a-z]+(?: [A-Z][a-z]+)?\b",
}
"""Pattern of each type of entity. Where patterns overlap, the first one counts."""
SENTENCE = re.compile(r"(?<=[.!?]) +(?=[A-Z\"'])")
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


def entity_rows(articles: Articles) -> Iterator[Row]:
    """Yield ``text``, ``entities`` and ``group`` (the article): sentences with an entity, and a quarter of the others.

    A sentence has 40 to 400 characters.
    """
    for article, text in enumerate(articles["text"]):
        for sentence in map(str.strip, SENTENCE.split(" ".join(text.split()))):
            if _SHORTEST <= len(sentence) <= _LONGEST:
                entities = find_entities(sentence)
                if entities or len(sentence) % 4 == 0:
                    yield {"text": sentence, "entities": entities, "group": str(article)}


def question_rows(articles: Articles) -> Iterator[Row]:
    """Yield ``question``, ``context``, ``answers`` (as in SQuAD) and ``group`` (the article).

    A context has three sentences. A question asks for an amount of money, a percentage, a year, a weekday or a speaker.
    Exactly one place of the context answers it, or none, as in SQuAD 2.0.
    """
    draw = random.Random(1)  # noqa: S311  (the same rows everywhere are wanted, no secrets)
    for article, text in enumerate(articles["text"]):
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
