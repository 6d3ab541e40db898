"""The rules that say which rows are copies, and which rows may not stand in two splits.

A sweep stores the version of its rule. A sweep that goes on keeps the rule that it was opened with, so its rows stay
the same. A changed rule is a new version; versions that ledgers hold are never edited.
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
"""Texts of at least so many words are compared by letters, marks and digits across splits."""
LONG_CHARACTERS = 20
"""The same bound in letters, marks and digits, for a text that is written without spaces."""
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Letters of the scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese."""


class Forms(NamedTuple):
    """A text as the rule compares it.

    Attributes:
        copy: two rows of one data set with equal values are copies; empty if the text is blank.
        near: two rows with equal values never stand in two splits.
        order: what is hashed to order the rows; two rows with equal values never stand in train and a shift set.
    """

    copy: str
    near: str
    order: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitRule:
    """One version of the rule.

    Attributes:
        version: the number that sweeps store.
        forms: how a text is compared.
        target_counts: whether two rows with one text and two targets are two rows, in a task that writes a target.
        lone_rows: whether a row without a group is a group of its own; else all rows without a group are one group.
    """

    version: int
    forms: Callable[[str], Forms]
    target_counts: bool
    lone_rows: bool


def normalised(text: str) -> str:
    """Return the letters and digits of a text in lower case: the only form that rule 1 compares.

    Published copies of one text differ in spacing and punctuation: of the 10,072 movie snippets, 61 are among the
    Rotten Tomatoes rows by spacing and case, 8,057 by letters and digits. A text without any keeps its other signs.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, plain)) or "".join(plain.split())


def key_of(text: str) -> str:
    """Return the letters, marks (Unicode Mn and Mc) and digits of a text in lower case.

    Marks tell words apart in many scripts: a vowel sign in Hindi is one. A text without any keeps its other signs.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    signs = dict.fromkeys(ord(character) for character in set(plain) if not _in_key(character))
    return plain.translate(signs) or "".join(plain.split())


def _normalised_forms(text: str) -> Forms:
    plain = normalised(text)
    return Forms(copy=plain, near=plain, order=plain)


def _exact_forms(text: str) -> Forms:
    """Compare exactly, and long texts by their keys across splits; see ``RULES``."""
    exact = unicodedata.normalize("NFC", text).strip()
    if not any(character.isprintable() and not character.isspace() for character in exact):
        return Forms(copy="", near="", order="")
    key = key_of(text)
    return Forms(copy=exact, near=f"\0{key}" if _is_long(exact, key) else exact, order=key)


def _is_long(text: str, key: str) -> bool:
    words = text.split()
    if len(words) == 1:
        return len(key) >= LONG_CHARACTERS and _in_key(key[0])
    spoken = (word for word in words if any(map(str.isalnum, word)))
    return len(list(islice(spoken, LONG_WORDS))) == LONG_WORDS or len(_UNSPACED.findall(key)) >= LONG_CHARACTERS


@lru_cache(maxsize=65536)
def _in_key(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


RULES: Mapping[int, SplitRule] = {
    1: SplitRule(version=1, forms=_normalised_forms, target_counts=False, lone_rows=False),
    2: SplitRule(version=2, forms=_exact_forms, target_counts=True, lone_rows=True),
}
"""The rules by version.

1: texts are compared by letters and digits alone, everywhere; rows without a group are one group.
2: copies are exact, but for spaces around the text and Unicode's composed forms. Across splits, texts of at least 5
words (20 characters without spaces) are compared by letters, marks and digits.
"""


def rule_of(version: int) -> SplitRule:
    """Return the rule of a version; raise ``DataError`` if a later version of Loratory made it."""
    if version not in RULES:
        known = ", ".join(map(str, RULES))
        raise DataError(f"the rows were split by rule {version}, and this version of Loratory knows {known}; update it")
    return RULES[version]
