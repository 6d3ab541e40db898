"""The tokeniser of ROUGE, for any language.

A word is a run of letters, digits and their marks, in lower case after Unicode NFKC. In scripts without spaces between
words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) each character is a token, with its marks. On ASCII text the tokens
equal those of the package rouge-score 0.1.2 without its stemmer. That package drops all other letters.
"""

import unicodedata
from collections.abc import Iterable

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x30FF),  # marks of Han, Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x3FFFF),  # Han, extensions
)
"""First and last code point of scripts without spaces between words."""


def tokens(text: str) -> list[str]:
    """Return the tokens of a text; see the module."""
    found: list[str] = []
    open_word = False
    for character in unicodedata.normalize("NFKC", text).lower():
        kind = unicodedata.category(character)[0]
        if kind == "M" and found:
            found[-1] += character
        elif kind not in "LN":
            open_word = False
        elif is_unspaced(character):
            found.append(character)
            open_word = False
        elif open_word:
            found[-1] += character
        else:
            found.append(character)
            open_word = True
    return found


def is_unspaced(character: str) -> bool:
    """Return whether a character belongs to a script without spaces between words."""
    point = ord(character)
    return any(first <= point <= last for first, last in _UNSPACED)


def mostly_unspaced(texts: Iterable[str]) -> bool:
    """Return whether at least half of the letters of the texts belong to scripts without spaces between words."""
    letters = [character for text in texts for character in text if character.isalpha()]
    return bool(letters) and 2 * sum(map(is_unspaced, letters)) >= len(letters)
