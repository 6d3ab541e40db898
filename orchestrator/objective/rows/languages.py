"""Finds rows that are not English, for base models trained on English texts only. A rule of thumb without a model."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.core.data import Origin, Source

ROWS: Final = 2_000
"""Most rows examined; they take less than 0.1 s."""
FEWEST: Final = 0.02
"""Smallest share of rows for a warning."""
_CHARACTERS = 500
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH = frozenset(
    _WORD.findall(
        "the of and to is it you that for was my with not have has are this we i when how why what can after from our "
        "your please but they their there would could should which who does did will all been be by at"
    )
)
_OTHERS = frozenset(
    _WORD.findall(
        "der das und ist nicht ich ein eine einen mit von auf für zum zur mir mein meine wurden wurde dem den des im "
        "bitte sie wir kein keine wie warum le la les est une pour pas que dans je vous nous avec sur mon votre el los "
        "las por muy del una mi su il che di per sono della não uma os het een van niet ik mijn voor de en"
    )
)
"""Frequent words of German, French, Spanish, Italian, Portuguese and Dutch that are no English words."""


def is_english_only(model: Source) -> bool:
    """Return whether a base model says that it was trained on English texts only.

    A packaged model says so in the catalogue, a folder in ``language`` of its ``README.md``. Other models do not say.
    """
    if model.origin is Origin.PACKAGED:
        asset = CATALOGUE.get(model.name)
        return asset is not None and asset.languages == ("en",)
    if model.origin is not Origin.LOCAL:
        return False
    try:
        readme = (Path(model.name).expanduser() / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    head = readme.split("---")[1] if readme.startswith("---") else ""
    return (
        re.search(r"^language:\s*(?:\[\s*)?(?:-\s+)?['\"]?en['\"]?\s*\]?\s*$(?!\n\s*-)", head, re.MULTILINE) is not None
    )


def is_other_language(text: str) -> bool:
    """Return whether a text is probably not English.

    Half of its letters are not Latin, or it holds more frequent words of six other languages than of English.
    """
    start = text[:_CHARACTERS]
    letters = [character for character in start if character.isalpha()]
    if letters and 2 * sum(map(_is_latin, letters)) <= len(letters):
        return True
    words = [word.casefold() for word in _WORD.findall(start)]
    return sum(word in _OTHERS for word in words) > sum(word in _ENGLISH for word in words)


def language_warning(model: Source, texts: Sequence[str]) -> str | None:
    """Return a warning if the base model is English and at least 2 % of the texts are probably not; else None.

    Args:
        model: the base model.
        texts: the training rows; the first 2,000 are examined.
    """
    if not texts or not is_english_only(model):
        return None
    others = [text for text in texts[:ROWS] if is_other_language(text)]
    share = len(others) / min(len(texts), ROWS)
    if share < FEWEST:
        return None
    example = " ".join(others[0].split())
    example = example if len(example) <= 60 else f"{example[:59]}…"
    return (
        f"about {share:.0%} of the training rows are probably not English ({example!r}), and {model} was trained on "
        "English texts: expect worse answers for such rows. Consider a multilingual base model."
    )


@lru_cache(maxsize=4096)
def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")
