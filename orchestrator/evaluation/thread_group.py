"""Threads for independent parts of a computation on a CPU.

The slots of a pack are independent between two updates, as are two batches in an evaluation. With one part per thread,
serial work also runs in parallel: random masks, small operations, Python code. Each operation then uses one core.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

P = TypeVar("P")
R = TypeVar("R")


class ThreadGroup:
    """A fixed number of threads, each with its share of torch's threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "thread_group")

    def map(self, work: Callable[[P], R], parts: Sequence[P]) -> list[R]:
        """Return ``work(part)`` for each part, in order. A single part runs with all of torch's threads.

        An exception is raised after all parts have finished.
        """
        if len(parts) == 1 or self.threads == 1:
            return [work(part) for part in parts]
        inference = torch.is_inference_mode_enabled()  # torch stores this per thread, like its number of threads
        threads_each = max(1, self.threads // len(parts))

        def run(part: P) -> R:
            torch.set_num_threads(threads_each)
            with torch.inference_mode(inference):
                return work(part)

        futures = [self._pool.submit(run, part) for part in parts]
        wait(futures)
        return [future.result() for future in futures]

    def split(self, items: Sequence[P], size: Callable[[P], float]) -> list[list[P]]:
        """Divide items into parts of similar size, at most one part per thread. A part keeps the order of its items."""
        parts: list[list[int]] = [[] for _ in range(min(self.threads, len(items)))]
        sizes = [size(item) for item in items]
        for index in sorted(range(len(items)), key=lambda index: -sizes[index]):
            min(parts, key=lambda part: sum(sizes[other] for other in part)).append(index)
        return [[items[index] for index in sorted(part)] for part in parts]

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
