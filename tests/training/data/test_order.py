"""The order in which a trial sees its rows."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.training.data.order import WINDOW, data_order


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 64), min_size=1, max_size=90),
    size=st.integers(1, 40),
    updates=st.integers(0, 30),
    seed=st.integers(0, 2**31 - 1),
)
def test_updates_are_full_and_rows_equally_frequent(lengths: list[int], size: int, updates: int, seed: int) -> None:
    order = data_order(lengths, size, updates, seed)
    assert [len(rows) for rows in order] == [size] * updates
    seen = [row for rows in order for row in rows]
    counts = [seen.count(row) for row in range(len(lengths))]
    # Rows left over from an epoch are in the first window of the next one.
    assert max(counts) - min(counts) <= 2 if len(lengths) > size else max(counts) - min(counts) <= size
    assert order[: updates // 2] == data_order(lengths, size, updates // 2, seed)


def test_epoch_sees_every_row_once() -> None:
    order = data_order([1 + i % 9 for i in range(64)], 8, 16, seed=1)
    for epoch in (order[:8], order[8:]):
        assert sorted(row for rows in epoch for row in rows) == list(range(64))
    assert order[:8] != order[8:]


def test_position_of_a_row_is_independent_of_length() -> None:
    """Over many seeds the mean position of each row is the middle of the epoch, whatever its length."""
    lengths, size, seeds = [1 + i % 61 for i in range(3 * WINDOW * 4 + 20)], 4, 400
    updates = len(lengths) // size
    places = [0.0] * len(lengths)
    for seed in range(seeds):
        for place, rows in enumerate(data_order(lengths, size, updates, seed)):
            for row in rows:
                places[row] += place / seeds
    error = updates / (12 * seeds) ** 0.5
    assert max(abs(place - (updates - 1) / 2) for place in places) < 4.5 * error
    for length in (1, 61):
        alike = [place for place, found in zip(places, lengths, strict=True) if found == length]
        assert abs(sum(alike) / len(alike) - (updates - 1) / 2) < 4 * error / len(alike) ** 0.5


def test_seeds_differ() -> None:
    assert data_order([5] * 64, 8, 8, seed=1) != data_order([5] * 64, 8, 8, seed=2)


def test_updates_group_similar_lengths_in_random_order() -> None:
    lengths = [4 + (i * 37) % 60 for i in range(16 * WINDOW)]
    order = data_order(lengths, 16, WINDOW, seed=3)
    padded = sum(max(lengths[row] for row in rows) * len(rows) for rows in order)
    assert padded / sum(lengths) < 1.1
    means = [sum(lengths[row] for row in rows) for rows in order]
    rises = sum(later > earlier for earlier, later in pairwise(means))
    assert 0 < rises < WINDOW - 1
