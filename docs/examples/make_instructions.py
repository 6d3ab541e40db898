"""Writes ``instructions.jsonl``: made requests, and answers in JSON with the topic and the year.

Run ``python docs/examples/make_instructions.py``. Every third conversation has two exchanges.
"""

import json
import random
from pathlib import Path

ROWS = 320
SYSTEM = 'Answer with JSON alone: {"topic": one word, "year": a number}.'
TOPICS = (
    *("astronomy", "banking", "bridges", "cancer", "chess", "cinema", "climate", "coffee", "copper", "cricket"),
    *(
        "dance",
        "divorce",
        "drought",
        "earthquakes",
        "education",
        "elections",
        "energy",
        "farming",
        "fashion",
        "fishing",
    ),
    *("football", "forestry", "genetics", "geology", "glass", "housing", "immigration", "inflation", "insurance"),
    *("jazz", "journalism", "law", "libraries", "malaria", "medicine", "migration", "mining", "museums", "nursing"),
    *("opera", "painting", "philosophy", "pensions", "physics", "poetry", "police", "poverty", "radio", "railways"),
    *("religion", "robots", "sailing", "schools", "shipping", "slavery", "steel", "taxes", "tea", "tennis"),
    *("theatre", "tourism", "trade", "transport", "unemployment", "vaccines", "volcanoes", "whaling", "wine", "wool"),
)
PLACES = ("Norway", "Peru", "Kenya", "Japan", "Chile", "Wales", "Ghana", "Nepal", "Malta", "Cuba", "Iran", "Laos")
PEOPLE = ("my aunt", "a student", "our editor", "the archive", "a colleague", "my neighbour", "the museum", "a reader")
REQUESTS = (
    "{person} wants an article about {topic} in {place} in {year}. File it.",
    "Where do I put a report on {topic}, written in {year} in {place}?",
    "In {year} {person} bought a book from {place}. It deals with {topic}.",
    "I found {pages} pages on {topic} in {place}; the date is {year}.",
    "Please sort this letter from {person}: {place}, {year}, all about {topic}.",
    "Old film, {pages} minutes, {place}. Year {year}. The theme is {topic}.",
    "{topic}! That is what {person} studied in {place} back in {year}.",
    "This map of {place} was drawn in {year} for a talk on {topic}.",
    "Can you classify {pages} photographs of {topic} that {person} took in {place} in {year}?",
    "Since {year}, {topic} has been the main concern of {person} in {place}.",
    "{place} changed its rules for {topic} in {year}, says {person}.",
    "We have {pages} recordings from {place}. They are from {year} and concern {topic}.",
)


def exchange(draw: random.Random) -> list[dict[str, str]]:
    """Return one request and its answer."""
    topic, year = draw.choice(TOPICS), draw.randrange(1820, 2025)
    request = draw.choice(REQUESTS).format(
        topic=topic, year=year, place=draw.choice(PLACES), person=draw.choice(PEOPLE), pages=draw.randrange(2, 90)
    )
    answer = json.dumps({"topic": topic, "year": year})
    return [
        {"role": "user", "content": request[0].upper() + request[1:]},
        {"role": "assistant", "content": answer},
    ]


def main() -> None:
    """Write the file beside this one."""
    draw = random.Random(0)
    lines = []
    for row in range(ROWS):
        messages = [{"role": "system", "content": SYSTEM}]
        for _ in range(1 + (row % 3 == 2)):
            messages += exchange(draw)
        lines.append(json.dumps({"messages": messages}))
    Path(__file__).with_name("instructions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
