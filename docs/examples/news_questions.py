"""Writes questions on the packaged BBC news, with answers found by rules: ``python -m docs.examples.news_questions``.

A context has three sentences of an article. A question asks for an amount of money, a percentage, a year, a weekday or
a speaker. The rule of its kind finds exactly one such span in the context, or none: then the question has no answer,
as in SQuAD 2.0. The file has one JSON object per line: ``question``, ``context``, ``answers``, ``article``.
"""

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source

FILE = Path(__file__).with_name("news_questions.jsonl")
KINDS = {
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
"""Pattern of the answer and questions, by kind."""
SENTENCES = 3
NONE_SHARE = 0.2
"""Share of the questions without an answer."""


def questions(article: int, text: str, draw: random.Random) -> Iterator[dict[str, object]]:
    """Yield the questions on the parts of one article."""
    sentences = re.split(r"(?<=[.!?]) +", text)
    for start in range(0, len(sentences) - SENTENCES + 1, SENTENCES):
        context = " ".join(sentences[start : start + SENTENCES])
        found = {kind: [*re.finditer(pattern, context)] for kind, (pattern, _) in KINDS.items()}
        absent = [kind for kind, spans in found.items() if not spans]
        for kind, spans in found.items():
            if len(spans) != 1:
                continue
            row = {"context": context, "article": article}
            asked = draw.choice(KINDS[kind][1])
            yield {**row, "question": asked, "answers": {"text": [spans[0][0]], "answer_start": [spans[0].start()]}}
            if absent and draw.random() < NONE_SHARE / (1 - NONE_SHARE):
                asked = draw.choice(KINDS[absent.pop(draw.randrange(len(absent)))][1])
                yield {**row, "question": asked, "answers": {"text": [], "answer_start": []}}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000, help="most rows")
    parser.add_argument("--file", type=Path, default=FILE)
    given = parser.parse_args()
    draw = random.Random(1)
    news = read_table(Source(origin=Origin.PACKAGED, name="bbc-news"))
    rows = [row for article, text in enumerate(news["text"][:]) for row in questions(article, text, draw)]
    draw.shuffle(rows)
    given.file.write_text("".join(f"{json.dumps(row)}\n" for row in rows[: given.rows]), encoding="utf-8")
    print(f"{given.file}: {min(given.rows, len(rows)):,} questions of {len(rows):,}")


if __name__ == "__main__":
    main()
