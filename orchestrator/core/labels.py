"""Names of classes: when two of them are the same."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

WHOLE: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
"""Text that is a whole number. ``01`` is not: leading zeros make a code. ``1.0`` is what pandas writes for an integer
in a column with missing values."""


def folded(name: str) -> str:
    """Return the form in which names that differ in case, outer spaces or Unicode composition are equal."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def mapping_key(written: str) -> str:
    """Return a value as it is looked up in ``data.labels``: ``1.0`` and ``+1`` are ``1``."""
    whole = WHOLE.fullmatch(written.strip().removeprefix("+"))
    return whole[1] if whole else written.strip()


def class_of(name: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class that ``name`` names, or None.

    An exact match comes first. Otherwise case does not matter, provided that only one class matches.
    """
    if name.strip() in classes:
        return classes.index(name.strip())
    key = folded(name)
    found = [index for index, label in enumerate(classes) if folded(label) == key]
    return found[0] if len(found) == 1 else None
