"""Names of classes: when two of them are the same."""

import unicodedata
from collections.abc import Sequence


def folded(name: str) -> str:
    """Return the form in which names that differ in case, outer spaces or Unicode composition are equal."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def class_of(name: str, classes: Sequence[str]) -> int | None:
    """Return the index of the class that ``name`` names, or None.

    An exact match comes first. Otherwise case does not matter, provided that only one class matches.
    """
    if name.strip() in classes:
        return classes.index(name.strip())
    key = folded(name)
    found = [index for index, label in enumerate(classes) if folded(label) == key]
    return found[0] if len(found) == 1 else None
