"""Comparison of class names."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

WHOLE: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
"""Text of a whole number. ``01`` does not match: leading zeros make a code. pandas writes ``1.0`` for an integer in a
column with missing values."""


def folded(name: str) -> str:
    """Return the name in a form without differences in case, spaces and Unicode composition."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def mapping_key(written: str) -> str:
    """Return the key of a value in ``data.labels``: ``1.0`` and ``+1`` become ``1``."""
    whole = WHOLE.fullmatch(written.strip().removeprefix("+"))
    return whole[1] if whole else written.strip()


def class_of(name: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class called ``name``, or None.

    An exact match comes first. Otherwise case and spaces do not matter if exactly one class matches.
    """
    if name.strip() in classes:
        return classes.index(name.strip())
    key = folded(name)
    matches = [index for index, label in enumerate(classes) if folded(label) == key]
    return matches[0] if len(matches) == 1 else None
