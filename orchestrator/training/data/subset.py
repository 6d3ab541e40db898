"""Subsets of the training rows for a learning curve."""

from collections import Counter
from collections.abc import Hashable, Sequence
from math import ceil

import numpy as np

from orchestrator.core.seeds import derive_seed


def stratified_subset(labels: Sequence[Hashable], share: float, seed: int) -> list[int]:
    """Return the places of a share of the rows, at least one, with about the labels' proportions of all rows.

    Subsets with one seed are nested: each contains those with smaller shares.

    Args:
        labels: class of each row; equal values if the task has none.
        share: in (0, 1].
        seed: seed of the draw.
    """
    counts, before = Counter(labels), Counter[Hashable]()
    order: list[tuple[float, int, int]] = []
    for rank, place in enumerate(np.random.default_rng(derive_seed("subset", seed)).permutation(len(labels)).tolist()):
        label = labels[place]
        before[label] += 1
        order.append(((before[label] - 0.5) / counts[label], rank, place))  # each label is spread over the whole order
    return [place for _, _, place in sorted(order)][: ceil(share * len(labels))]
