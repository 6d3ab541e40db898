"""Near-duplicates: rows of different splits with almost the same words. The split rules exclude equal texts only."""

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from itertools import pairwise
from pathlib import Path

FILE = "near_copies.csv"
"""Name of the file with the pairs, in the folder of a sweep."""
SIMILARITY = 0.8
"""Smallest Jaccard similarity of the word pairs of two near-duplicates: one changed word in about 20."""
MAX_ROWS: Mapping[str, int] = {"test": 5_000, "validation": 5_000, "train": 50_000}
"""Most rows examined of each split, in the order of the index; all of them take about 3 s."""
_MIN_WORDS = 5
"""Shorter texts are often alike by chance. The split rules compare them exactly."""
_MAX_WORDS = 200
_MAX_CANDIDATES = 20
_PERMUTATIONS = 128
_WORD = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|"
    "[^\\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)
"""A word, or one letter of a script without spaces between words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NearCopy:
    """Two rows of different splits with almost the same words.

    Attributes:
        split, row, text: a row of ``test`` or ``validation`` by its place in the split.
        other_split, other_row, other_text: the most similar row of the other split, ``validation`` or ``train``.
        similarity: Jaccard similarity of their word pairs, from ``SIMILARITY`` to 1.
    """

    split: str
    row: int
    other_split: str
    other_row: int
    similarity: float
    text: str
    other_text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NearCopies:
    """The near-duplicates of a data set.

    Attributes:
        pairs: at most one for each row and other split.
        rows: number of rows by split.
        examined: number of examined rows by split.
    """

    pairs: tuple[NearCopy, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    examined: Mapping[str, int] = field(default_factory=dict)

    @property
    def warning(self) -> str | None:
        """A warning with the number of rows and a remedy; None without near-duplicates."""
        if not self.pairs:
            return None
        counts = Counter((pair.split, pair.other_split) for pair in self.pairs)
        found = ", ".join(f"{n:,} of {split} in {other}" for (split, other), n in counts.items())
        parts = ", ".join(
            f"{n:,} {split}" if n == self.rows[split] else f"{n:,} of {self.rows[split]:,} {split}"
            for split, n in self.examined.items()
        )
        return (
            f"rows with a near-duplicate in another split: {found} (similarity of word pairs ≥ {SIMILARITY:g}; "
            f"examined rows: {parts}). Scores on them are too good. The sweep lists them in {FILE} in its folder. "
            "Remove one row of each pair, or name a column of their common origin: data.columns: {group: COLUMN}."
        )


def find_near_copies(texts: Mapping[str, Sequence[str]]) -> NearCopies:
    """Return the near-duplicates between test, validation and train.

    Candidates come from MinHash with locality-sensitive hashing (Broder 1997, "On the resemblance and containment of
    documents"), so a few pairs near the limit are missed. The similarity of each pair is exact. The result is
    deterministic.

    Args:
        texts: texts by split: ``test``, ``validation``, ``train``; see ``MAX_ROWS``. Texts of fewer than 5 words are
            skipped, and the first 200 words are compared.
    """
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=SIMILARITY, num_perm=_PERMUTATIONS)
    indexed: list[tuple[str, int, frozenset[bytes]]] = []
    known: set[bytes] = set()
    best: dict[tuple[str, int, str], NearCopy] = {}
    examined = {split: min(size, len(texts.get(split, ()))) for split, size in MAX_ROWS.items()}
    for split, size in examined.items():
        # A near-duplicate in train shares at least this part of its pairs with other splits: few rows need a signature.
        least = SIMILARITY if split == "train" else 0.0
        shingles = {
            row: own
            for row, text in enumerate(texts.get(split, ())[:size])
            if (own := _word_pairs(text)) and len(own & known) >= least * len(own)
        }
        signatures = MinHash.bulk([*shingles.values()], num_perm=_PERMUTATIONS)
        for (row, own), signature in zip(shingles.items(), signatures, strict=True):
            for place in sorted(index.query(signature))[:_MAX_CANDIDATES]:
                other, other_row, others = indexed[place]
                similarity = len(own & others) / len(own | others)
                key = (other, other_row, split)
                if similarity >= max(SIMILARITY, best[key].similarity if key in best else 0.0):
                    best[key] = NearCopy(
                        split=other,
                        row=other_row,
                        text=texts[other][other_row],
                        other_split=split,
                        other_row=row,
                        other_text=texts[split][row],
                        similarity=similarity,
                    )
        for (row, own), signature in zip(shingles.items(), signatures, strict=True) if split != "train" else ():
            index.insert(len(indexed), signature)
            indexed.append((split, row, own))
            known |= own
    pairs = sorted(best.values(), key=lambda pair: (pair.split, pair.other_split, -pair.similarity, pair.row))
    return NearCopies(pairs=tuple(pairs), rows={split: len(texts[split]) for split in texts}, examined=examined)


def write_near_copies(folder: Path, found: NearCopies) -> Path | None:
    """Write the pairs as CSV to the sweep's folder, atomically; return the file, or None without pairs.

    Raises:
        OSError: the disk is full.
    """
    if not found.pairs:
        return None
    unfinished = folder / f".{FILE}.{os.getpid()}"
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(item.name for item in fields(NearCopy))
        writer.writerows(astuple(pair) for pair in found.pairs)
    return unfinished.replace(folder / FILE)


def _word_pairs(text: str) -> frozenset[bytes]:
    """Return the pairs of neighbouring words in lower case; empty for a short text."""
    words = _WORD.findall(text.casefold())[:_MAX_WORDS]
    if len(words) < _MIN_WORDS:
        return frozenset()
    return frozenset(f"{first} {second}".encode(errors="surrogatepass") for first, second in pairwise(words))
