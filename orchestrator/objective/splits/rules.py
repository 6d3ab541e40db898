"""The split rules: which rows are copies, and which rows must not be in two splits.

A sweep stores the version of its rule, and a resumed sweep uses this version, so its rows stay the same. A changed
rule gets a new version; released versions are never edited.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from orchestrator.core.errors import DataError

LONG_WORDS = 5
"""Texts with at least this number of words are compared by letters, marks and digits across splits."""
LONG_CHARACTERS = 20
"""The same limit in letters, marks and digits, for a text without spaces."""
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of scripts without spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


class Forms(NamedTuple):
    """Normalised forms of a text for the comparisons of a rule.

    Attributes:
        copy: rows of one data set with equal values are copies; empty for a blank text.
        near: rows with equal values are never in two splits.
        order: hashed to order the rows; rows with equal values are never in train and a shift set.
    """

    copy: str
    near: str
    order: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRule:
    """One version of the rule.

    Attributes:
        version: the number stored by sweeps.
        forms: returns the normalised forms of a text.
        target_counts: whether rows with equal texts and different targets are different rows (text generation).
        lone_rows: whether each row without a group is its own group; otherwise all of them are one group.
    """

    version: int
    forms: Callable[[str], Forms]
    target_counts: bool
    lone_rows: bool


def normalised(text: str) -> str:
    """Return the letters and digits of a text in lower case, used by rule 1. A text without them keeps its other signs.

    Published copies of one text differ in spacing and punctuation: of the 10,072 movie snippets, 61 equal a Rotten
    Tomatoes row up to spacing and case, 8,057 up to letters and digits.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, plain)) or "".join(plain.split())


def key_of(text: str) -> str:
    """Return the letters, marks (Unicode Mn and Mc) and digits of a text in lower case, used by rule 2.

    Marks distinguish words in many scripts, for example vowel signs in Hindi. A text without any of these characters
    keeps its other signs.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    signs = dict.fromkeys(ord(character) for character in set(plain) if not _in_key(character))
    return plain.translate(signs) or "".join(plain.split())


def _normalised_forms(text: str) -> Forms:
    plain = normalised(text)
    return Forms(copy=plain, near=plain, order=plain)


def _exact_forms(text: str) -> Forms:
    """Return the forms of rule 2; see ``RULES``."""
    exact = unicodedata.normalize("NFC", text).strip()
    if not any(character.isprintable() and not character.isspace() for character in exact):
        return Forms(copy="", near="", order="")
    key = key_of(text)
    return Forms(copy=exact, near=f"\0{key}" if _is_long(exact, key) else exact, order=key)


def _is_long(text: str, key: str) -> bool:
    words = text.split()
    if len(words) == 1:
        return len(key) >= LONG_CHARACTERS and _in_key(key[0])
    real_words = (word for word in words if any(map(str.isalnum, word)))
    return len(list(islice(real_words, LONG_WORDS))) == LONG_WORDS or len(_UNSPACED.findall(key)) >= LONG_CHARACTERS


@lru_cache(maxsize=65536)
def _in_key(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


RULES: Mapping[int, SplitRule] = {
    1: SplitRule(version=1, forms=_normalised_forms, target_counts=False, lone_rows=False),
    2: SplitRule(version=2, forms=_exact_forms, target_counts=True, lone_rows=True),
}
"""The rules by version.

1: Texts are always compared by letters and digits. Rows without a group are one group.
2: Copies are exact, up to spaces around the text and Unicode composition. Across splits, texts of at least 5 words
(20 characters without spaces) are compared by letters, marks and digits.
"""


def rule_of(version: int) -> SplitRule:
    """Return the rule of a version.

    Raises:
        DataError: the version is unknown, because a later release of Loratory wrote it.
    """
    if version not in RULES:
        known = ", ".join(map(str, RULES))
        raise DataError(
            f"the rows were split by rule {version}; this release knows the rules {known}. Update Loratory."
        )
    return RULES[version]
