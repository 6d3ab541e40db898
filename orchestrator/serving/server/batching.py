"""Micro-batches: rows of several requests for one adapter are computed together, in one thread."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.core.errors import UserError
from orchestrator.serving.predictor import Prediction
from orchestrator.serving.server.errors import RequestError
from orchestrator.serving.server.limits import Limits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Rows of equal groups are computed together.

    Attributes:
        model: the served name.
        max_new_tokens: most tokens of a generated answer.
        max_answers: most answers found in the context of a row.
    """

    model: str
    max_new_tokens: int
    max_answers: int = 1


RowTexts: TypeAlias = tuple[str, ...]
"""The text of a row, and its second text for a model of two texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    texts: RowTexts
    answer: "asyncio.Future[Prediction]"
    arrived: float


Compute = Callable[[Group, Sequence[RowTexts]], Sequence[Prediction]]
"""Returns one prediction per row, in order. It runs in the computing thread."""
Observe = Callable[[Group, int, float], None]
"""Receives the group, the number of rows and the seconds of each batch."""


class Batcher:
    """The rows that wait, and the thread that computes them.

    Groups take turns, so a large request delays a request for another adapter by one batch. Within a group, the oldest
    rows come first.
    """

    def __init__(self, compute: Compute, limits: Limits, observe: Observe) -> None:
        self._compute = compute
        self._limits = limits
        self._observe = observe
        self._waiting: dict[Group, deque[_Row]] = {}
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compute")
        self.computing = False
        """Whether a batch is being computed."""
        self.cut = 0
        """Requests cancelled before their answers; the server cancels them when its time to stop is over."""

    @property
    def num_waiting(self) -> int:
        """The number of rows that wait."""
        return sum(map(len, self._waiting.values()))

    async def answer(self, group: Group, texts: Sequence[RowTexts]) -> list[Prediction]:
        """Return one prediction per row, in order.

        Raises:
            RequestError: too many rows wait.
            UserError: the model refuses a text.
        """
        if self.num_waiting + len(texts) > self._limits.waiting_rows:
            raise RequestError(
                503, "overloaded", f"{self.num_waiting} rows wait for an answer; try again later", retry_after_s=1
            )
        loop = asyncio.get_running_loop()
        rows = [_Row(texts=each, answer=loop.create_future(), arrived=loop.time()) for each in texts]
        if rows:
            self._waiting.setdefault(group, deque()).extend(rows)
            self._wake.set()
        try:
            return await asyncio.gather(*(row.answer for row in rows))
        except asyncio.CancelledError:
            self.cut += 1
            raise

    async def run(self) -> None:
        """Compute batches until the task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            group, queue = next(iter(self._waiting.items()))
            wait_s = queue[0].arrived + self._limits.batch_wait_s - loop.time()
            if wait_s > 0 and len(queue) < self._limits.batch_rows:
                await asyncio.sleep(wait_s)
            rows = self._take(group)
            if rows:
                await self._answer(group, rows)

    def close(self) -> None:
        """Take no more batches. A running batch continues in its thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _take(self, group: Group) -> list[_Row]:
        """Remove and return the group's next rows, without those of cancelled requests; put the group last."""
        queue = self._waiting.pop(group)
        taken = [queue.popleft() for _ in range(min(len(queue), self._limits.batch_rows))]
        if queue:
            self._waiting[group] = queue
        if not self._waiting:
            self._wake.clear()
        return [row for row in taken if not row.answer.done()]

    async def _answer(self, group: Group, rows: Sequence[_Row]) -> None:
        started = time.perf_counter()
        self.computing = True
        try:
            texts = [row.texts for row in rows]
            answers = await asyncio.get_running_loop().run_in_executor(self._executor, self._compute, group, texts)
            found = list(zip(rows, answers, strict=True))
        except UserError as error:  # such as for a conversation that is too long; it is no fault of the others
            if len(rows) > 1:
                for row in rows:
                    await self._answer(group, [row])
            elif not rows[0].answer.done():
                rows[0].answer.set_exception(error)
            return
        except Exception as error:  # every error of a model: the requests get it, and the server continues
            logger.exception("a batch of %d rows for %s failed", len(rows), group.model)
            for row in rows:
                if not row.answer.done():
                    row.answer.set_exception(error)
            return
        finally:
            self.computing = False
        self._observe(group, len(rows), time.perf_counter() - started)
        for row, answer in found:
            if not row.answer.done():  # the client may have left meanwhile
                row.answer.set_result(answer)


def alike(lengths: Sequence[int], growth: float = 1.3, spare_chars: int = 12) -> list[list[int]]:
    """Return the positions of rows in groups of similar lengths, the short ones first.

    On a CPU a padded token costs as much as a real one. In a group, no row is longer than ``growth`` times the shortest
    one and ``spare_chars`` characters more.

    Args:
        lengths: characters of each row.
        growth: see above, at least 1.
        spare_chars: see above.
    """
    groups: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if groups and lengths[position] <= growth * lengths[groups[-1][0]] + spare_chars:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups
