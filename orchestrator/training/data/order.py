"""The rows of each optimizer step of a trial: a pure function of the seed, so a resumed trial sees the same rows."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from orchestrator.core.seeds import derive_seed

WINDOW = 32
"""Optimizer steps whose rows are sorted by length together. Padding then multiplies the tokens of reviews by 1.08; by
1.16 with a window of 16, and by 1.8 in random order."""


def data_order(lengths: Sequence[int], rows_per_update: int, updates: int, seed: int) -> list[list[int]]:
    """Return the row indices of each optimizer step, exactly ``rows_per_update`` per step.

    An epoch draws each row once, in its own order. Within a window of steps the rows are sorted by length, cut into
    steps, and the steps are shuffled: the rows of a step have similar lengths, and lengths come in random order. Rows
    left over at the end of an epoch start the next one. Gradient accumulation does not change the order.

    Args:
        lengths: tokens of each row.
        rows_per_update: rows of one optimizer step.
        updates: number of optimizer steps.
        seed: seed of the trial.
    """
    assert len(lengths) > 0, "no rows to train on"
    return [*islice(_endless(lengths, rows_per_update, seed), updates)]


def _endless(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    rest: list[int] = []
    epoch = 0
    while True:
        rng = np.random.default_rng(derive_seed("data order", seed, epoch))
        rows = rest + rng.permutation(len(lengths)).tolist()
        whole = len(rows) // size * size
        for start in range(0, whole, WINDOW * size):
            window = sorted(rows[start : min(start + WINDOW * size, whole)], key=lengths.__getitem__)
            for at in rng.permutation(len(window) // size).tolist():
                yield window[at * size : (at + 1) * size]
        rest = rows[whole:]
        epoch += 1
