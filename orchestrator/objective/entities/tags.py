"""Tags of words in the schemes IOB2 and IOBES, and the entities they mark.

IOB2: an entity begins with ``B-TYPE`` and continues with ``I-TYPE``; other words have ``O``. IOBES also marks the last
word (``E-TYPE``) and an entity of one word (``S-TYPE``); BILOU's ``L-`` and ``U-`` mean the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.errors import DataError
from orchestrator.objective.entities.entity_words import OUTSIDE, Span, strict_spans

_SAME = {"L": "E", "U": "S"}


def tag_names(types: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of a head in IOB2: ``O``, then ``B-`` and ``I-`` of each type."""
    return (OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI"))


def tags_of(spans: Sequence[Span], number: int) -> list[str]:
    """Return the IOB2 tags of ``number`` words from the entities among them."""
    tags = [OUTSIDE] * number
    for span in spans:
        tags[span.start : span.end] = [f"B-{span.label}", *[f"I-{span.label}"] * (span.end - span.start - 1)]
    return tags


def is_iobes(tags: Sequence[str]) -> bool:
    """Return whether a tag belongs to IOBES alone: it begins with E, S, L or U."""
    return any(tag[:2] in {"E-", "S-", "L-", "U-"} for tag in tags)


@dataclass(kw_only=True, slots=True)
class TagReader:
    """Reads the tags of rows in one scheme, and notes the rows with tags that are not valid.

    Attributes:
        iobes: whether the scheme is IOBES, else IOB2.
        first: the first wrong row in words; None without one.
        wrong: number of wrong rows.
    """

    iobes: bool
    first: str | None = None
    wrong: int = 0

    def spans(self, number: int, tags: Sequence[str]) -> list[Span]:
        """Return the entities of a row, by its words; none if a tag is not valid.

        Args:
            number: number of the row, from 1.
            tags: the tags of its words.
        """
        normal = [tag if tag == OUTSIDE else f"{_SAME.get(tag[:1], tag[:1])}{tag[1:]}" for tag in tags]
        problem = _problem(normal, iobes=self.iobes)
        if problem is not None:
            if self.first is None:
                self.first = f"row {number}, word {problem + 1} has {tags[problem]!r} after {_before(tags, problem)}"
            self.wrong += 1
            return []
        return strict_spans([f"{'B' if tag[0] == 'S' else 'I'}{tag[1:]}" if tag[0] in "ES" else tag for tag in normal])

    def require_valid(self, place: str) -> None:
        """Raise ``DataError`` if a row was wrong: a tag has no scheme's form, or does not follow the tag before it.

        Args:
            place: the column and its source, for the message.
        """
        if self.first is None:
            return
        scheme = "IOBES" if self.iobes else "IOB2"
        more = f", and {self.wrong - 1} more rows" if self.wrong > 1 else ""
        raise DataError(
            f"{place}: the tags are not valid {scheme}: {self.first}{more}. Each entity begins with B-TYPE"
            f"{' or is S-TYPE, and ends with E-TYPE' if self.iobes else ''}; other words have O. Correct these rows."
        )


def _before(tags: Sequence[str], place: int) -> str:
    return repr(tags[place - 1]) if place else "the start"


def _problem(tags: Sequence[str], *, iobes: bool) -> int | None:
    """Return the place of the first tag without a valid form or predecessor; None if all are valid."""
    opened = ""
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, name = tag.partition("-")
        inside = prefix in ({"I", "E"} if iobes else {"I"})
        if place < len(tags) and tag != OUTSIDE and (prefix not in set("BIES" if iobes else "BI") or not name):
            return place
        if (inside and name != opened) or (iobes and opened and not inside):
            return min(place, len(tags) - 1)
        opened = name if prefix == "B" or (prefix == "I" if iobes else inside) else ""
    return None
