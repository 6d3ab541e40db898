"""Stratified draws from ordered rows. The order is a hash of the split's seed and the rows' content."""

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Sequence


def draw(ordered: Sequence[int], size: int, label: Callable[[int], Hashable]) -> list[int]:
    """Return the first rows that fill each label's share of ``size``; shares are rounded by largest remainder."""
    if size >= len(ordered):
        return [*ordered]
    counts = Counter(map(label, ordered))
    exact = {name: size * count / len(ordered) for name, count in counts.items()}
    room = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (room[name] - exact[name], str(name)))
    for name in by_remainder[: size - sum(room.values())]:
        room[name] += 1
    chosen = []
    for row in ordered:
        if room[label(row)] > 0:
            room[label(row)] -= 1
            chosen.append(row)
    return chosen


def rank(seed: int, content: str) -> bytes:
    """Return 12 bytes that order ``content`` among others, by the split's seed."""
    return hashlib.blake2b(content.encode(errors="surrogatepass"), key=str(seed).encode(), digest_size=12).digest()
