"""Threads that each work on a part of what is to be computed, so that on a CPU no core waits for another.

The slots of a pack have nothing to say to each other between two updates, nor have two batches that are measured. Split
over the threads, everything runs side by side, what torch would run on one core included: random masks, small
operations, Python itself. Within an operation a thread then works alone. It knows nothing of models.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

P = TypeVar("P")
R = TypeVar("R")


class Crew:
    """A number of threads, which live as long as the crew."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "crew")

    def each(self, work: Callable[[P], R], parts: Sequence[P]) -> list[R]:
        """Return what ``work`` makes of each part, in their order; a single part gets all threads to itself.

        The first exception is raised when all are done.
        """
        if len(parts) == 1 or self.threads == 1:
            return [work(part) for part in parts]
        inference = torch.is_inference_mode_enabled()  # torch keeps that for each thread, and the number of threads
        share = max(1, self.threads // len(parts))

        def run(part: P) -> R:
            torch.set_num_threads(share)
            with torch.inference_mode(inference):
                return work(part)

        started = [self._pool.submit(run, part) for part in parts]
        wait(started)
        return [done.result() for done in started]

    def split(self, items: Sequence[P], size: Callable[[P], float]) -> list[list[P]]:
        """Return the items in at most as many parts as there are threads, of much the same size, in their order."""
        parts: list[list[int]] = [[] for _ in range(min(self.threads, len(items)))]
        sizes = [size(item) for item in items]
        for index in sorted(range(len(items)), key=lambda index: -sizes[index]):
            min(parts, key=lambda part: sum(sizes[other] for other in part)).append(index)
        return [[items[index] for index in sorted(part)] for part in parts]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
