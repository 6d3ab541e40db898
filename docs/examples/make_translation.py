"""Writes ``translation.csv``: English sentences on journeys, and their German translations, both by rule.

Run ``python docs/examples/make_translation.py``.
"""

import csv
import random
from pathlib import Path

ROWS = 192
CITIES = (
    *(("Cologne", "Köln"), ("Munich", "München"), ("Vienna", "Wien"), ("Zurich", "Zürich"), ("Nuremberg", "Nürnberg")),
    *(("Berlin", "Berlin"), ("Hamburg", "Hamburg"), ("Brunswick", "Braunschweig"), ("Geneva", "Genf")),
    *(("Prague", "Prag"), ("Warsaw", "Warschau"), ("Brussels", "Brüssel"), ("Milan", "Mailand"), ("Graz", "Graz")),
)
DAYS = (
    *(("Monday", "Montag"), ("Tuesday", "Dienstag"), ("Wednesday", "Mittwoch"), ("Thursday", "Donnerstag")),
    *(("Friday", "Freitag"), ("Saturday", "Samstag"), ("Sunday", "Sonntag")),
)
MONTHS = (
    *(("January", "Januar"), ("March", "März"), ("May", "Mai"), ("June", "Juni"), ("July", "Juli")),
    *(("October", "Oktober"), ("December", "Dezember")),
)
SENTENCES = (
    ("The train to {city} leaves at {time} on {day}.", "Der Zug nach {city} fährt am {day} um {time} Uhr ab."),
    ("On {day} the shop in {city} opens at {time}.", "Am {day} öffnet das Geschäft in {city} um {time} Uhr."),
    ("The meeting in {city} begins at {time}.", "Die Sitzung in {city} beginnt um {time} Uhr."),
    ("A room in {city} costs {number} euros a night.", "Ein Zimmer in {city} kostet {number} Euro pro Nacht."),
    (
        "The flight from {city} to {other} takes {number} minutes.",
        "Der Flug von {city} nach {other} dauert {number} Minuten.",
    ),
    ("We have {number} letters from {city}.", "Wir haben {number} Briefe aus {city}."),
    ("I will be in {city} until {date} {month}.", "Ich bin bis zum {date}. {month} in {city}."),
    ("Is there a bus to {city} at {time}?", "Gibt es um {time} Uhr einen Bus nach {city}?"),
)


def sentence(draw: random.Random) -> tuple[str, str]:
    """Return one sentence in English and in German."""
    city, other = draw.sample(CITIES, 2)
    day, month = draw.choice(DAYS), draw.choice(MONTHS)
    hour, minute = draw.randrange(6, 21), draw.randrange(5, 60, 5)
    numbers = {"number": draw.randrange(40, 200), "date": draw.randrange(1, 32 if month[0] != "June" else 31)}
    english, german = (
        {"city": city[at], "other": other[at], "day": day[at], "month": month[at], **numbers} for at in (0, 1)
    )
    forms = draw.choice(SENTENCES)
    return forms[0].format(**english, time=f"{hour}:{minute:02}"), forms[1].format(**german, time=f"{hour}.{minute:02}")


def main() -> None:
    """Write the file beside this one."""
    draw = random.Random(0)
    rows: dict[str, str] = {}
    while len(rows) < ROWS:
        english, german = sentence(draw)
        rows[english] = german
    with Path(__file__).with_name("translation.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("english", "german"))
        table.writerows(rows.items())


if __name__ == "__main__":
    main()
