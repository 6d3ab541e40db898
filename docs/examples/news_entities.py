"""Write news with rule-made entities: ``python -m docs.examples.news_entities news.jsonl``.

The texts are sentences of the packaged BBC news. Weekdays, months, years, amounts of money, percentages, and a title
with a name are found by the rules below, so every text is labelled in the same way.
"""

import json
import re
import sys
from pathlib import Path

from orchestrator.assets.data import read_table
from orchestrator.core.data import Origin, Source

RULES = {
    "MONEY": r"[£$€]\d[\d.,]*\d?(?:\s?(?:bn|m|billion|million))?\b",
    "PERCENT": r"\b\d+(?:\.\d+)?(?:%| per cent| percent)",
    "WEEKDAY": r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b",
    "MONTH": r"\b(?:January|February|March|April|June|July|August|September|October|November|December)\b",
    "YEAR": r"\b(?:19|20)\d\d\b(?![.,]?\d|%)",
    "PERSON": r"\b(?:Mr|Mrs|Ms|Sir|Lord|Dr) [A-Z][a-z]+(?: [A-Z][a-z]+)?\b",
}
SENTENCE = re.compile(r"(?<=[.!?]) +(?=[A-Z\"'])")
SHORTEST, LONGEST = 40, 400
"""Characters of a sentence."""


def entities(text: str) -> list[dict[str, object]]:
    """Return the entities of a text; where rules overlap, the first rule counts."""
    found: list[tuple[int, int, str]] = []
    for label, rule in RULES.items():
        for match in re.finditer(rule, text):
            if all(match.end() <= start or match.start() >= end for start, end, _ in found):
                found.append((*match.span(), label))
    return [{"start": start, "end": end, "label": label} for start, end, label in sorted(found)]


def main(file: Path) -> None:
    """Write a row for each sentence with an entity, and for a quarter of the others."""
    articles = read_table(Source(origin=Origin.PACKAGED, name="bbc-news"))
    with file.open("w", encoding="utf-8") as out:
        for number, article in enumerate(articles["text"]):
            for text in map(str.strip, SENTENCE.split(" ".join(article.split()))):
                if SHORTEST <= len(text) <= LONGEST:
                    found = entities(text)
                    if found or len(text) % 4 == 0:
                        row = {"text": text, "entities": found, "article": str(number)}
                        out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
