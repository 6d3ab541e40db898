"""Stratified draws from rows ordered by a hash of the seed and their content."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence


def draw(ordered: Sequence[int], size: int, label: Callable[[int], Hashable]) -> list[int]:
    """Return ``size`` rows, the first ones of each label, with the labels' proportions of ``ordered``.

    Proportions are rounded by the largest-remainder method.

    Args:
        ordered: row numbers.
        size: number of rows to draw; all rows if it exceeds their number.
        label: returns the label of a row.
    """
    if size >= len(ordered):
        return [*ordered]
    counts = Counter(map(label, ordered))
    exact = {name: size * count / len(ordered) for name, count in counts.items()}
    quota = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (quota[name] - exact[name], str(name)))
    for name in by_remainder[: size - sum(quota.values())]:
        quota[name] += 1
    chosen = []
    for row in ordered:
        if quota[label(row)] > 0:
            quota[label(row)] -= 1
            chosen.append(row)
    return chosen


def keyed_hash(seed: int, content: str) -> bytes:
    """Return a sort key of 12 bytes for ``content``: a hash keyed by the split's seed."""
    return hashlib.blake2b(content.encode(errors="surrogatepass"), key=str(seed).encode(), digest_size=12).digest()
