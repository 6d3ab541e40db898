"""Rows of further tasks from the packaged news: text pairs, several labels per sentence, written answers."""

import random
from collections.abc import Iterator

from orchestrator.assets.derived_news import SENTENCE, Articles, Row, entity_rows, question_rows

NO_ANSWER = "no answer"
"""Target of a question that the text does not answer."""
_OPENING = 2
"""Sentences of an article's opening."""
_MENTIONED = {
    "MONEY": "money",
    "PERCENT": "percentage",
    "WEEKDAY": "date",
    "MONTH": "date",
    "YEAR": "date",
    "PERSON": "person",
}
"""Class of each type of entity."""


def pair_rows(articles: Articles) -> Iterator[Row]:
    """Yield ``headline``, ``opening`` (two sentences), ``label`` and ``group`` (the article).

    Each article has two rows. The label is ``yes`` for its own headline, and ``no`` for the headline of another article
    on the same topic.
    """
    draw = random.Random(2)  # noqa: S311  (the same rows everywhere are wanted, no secrets)
    headlines: dict[str, list[str]] = {}
    for headline, topic in zip(articles["headline"], articles["label"], strict=True):
        headlines.setdefault(topic, []).append(headline)
    columns = (articles[name] for name in ("headline", "text", "label"))
    for article, (headline, text, topic) in enumerate(zip(*columns, strict=True)):
        opening = " ".join(SENTENCE.split(text)[:_OPENING])
        other = draw.choice([one for one in headlines[topic] if one != headline])
        for title, label in ((headline, "yes"), (other, "no")):
            yield {"headline": title, "opening": opening, "label": label, "group": str(article)}


def mention_rows(articles: Articles) -> Iterator[Row]:
    """Yield ``text`` (a sentence), ``label`` (the classes of its entities, possibly none) and ``group``."""
    for row in entity_rows(articles):
        found = {_MENTIONED[one["label"]] for one in row["entities"]}
        yield {"text": row["text"], "label": sorted(found), "group": row["group"]}


def answer_rows(articles: Articles) -> Iterator[Row]:
    """Yield ``text`` (a question and its context), ``target`` (the answer) and ``group``."""
    for row in question_rows(articles):
        target = row["answers"]["text"][0] if row["answers"]["text"] else NO_ANSWER
        yield {"text": f"{row['question']} {row['context']}", "target": target, "group": row["group"]}
