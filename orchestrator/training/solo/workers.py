"""The processes of one trial: each trains on a share of every micro-batch, and holds a part of the training state."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

from orchestrator.core.trials.trial import Report, TrialTask

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class ReportChannel(Protocol):
    """Pauses a training at its reports; see ``PausableThread``."""

    def push(self, value: Report) -> None:
        """Pass a report to the engine, and wait for its next request."""

    def check(self) -> None:
        """Raise an exception to end the training, after the trial was closed."""


class Training(Protocol):
    """A training in progress, in a thread or in several processes."""

    def next(self) -> Report:
        """Train to the next report, and return it; an error of the training is raised here."""

    def close(self) -> None:
        """End the training; calling it again does nothing."""


Launch: TypeAlias = Callable[[TrialTask], Training]
"""Starts the workers of a trial."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A process among the workers of a trial, which share a process group of torch.

    Attributes:
        rank: from 0; the first worker writes the checkpoints.
        world: number of workers.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this worker writes the checkpoints."""
        return self.rank == 0

    def own(self, rows: Sequence[int]) -> list[int]:
        """Return this worker's share of a micro-batch."""
        return list(rows[self.rank :: self.world])

    def decide(self, value: Callable[[], T]) -> T:
        """Return ``value()`` of the first worker in all workers, for example of a file that only one may change."""
        if self.world == 1:
            return value()
        import torch.distributed as dist

        values = [value() if self.is_first else None]
        dist.broadcast_object_list(values)
        found: T = values[0]  # type: ignore[assignment]  # the first worker's
        return found

    def summed(self, values: "torch.Tensor") -> "torch.Tensor":
        """Return the sum of a tensor over all workers."""
        if self.world > 1:
            import torch.distributed as dist

            dist.all_reduce(values)
        return values


@contextmanager
def one_thread() -> Iterator[None]:
    """Measure in one thread inside the block: forwards that gather weights must come in one order in all workers."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


ALONE = Worker()
"""The process of a trial without further workers."""
