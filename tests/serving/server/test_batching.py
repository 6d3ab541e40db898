"""Micro-batches: which rows are computed together, in which order, and failures."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from orchestrator.core.errors import UserError
from orchestrator.serving.predictor import Prediction
from orchestrator.serving.server.batching import Batcher, Group, RowTexts, alike
from orchestrator.serving.server.errors import RequestError
from orchestrator.serving.server.limits import Limits

A, B = (Group(model=name, max_new_tokens=1) for name in "ab")


class Model:
    """Answers with the text in capitals, once it is released; keeps the batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.release = threading.Event()

    def compute(self, group: Group, rows: Sequence[RowTexts]) -> list[Prediction]:
        self.release.wait(60)
        texts = ["+".join(row) for row in rows]
        self.batches.append((group.model, list(texts)))
        if "broken" in texts:
            raise RuntimeError("the model is broken")
        if "refused" in texts:
            raise UserError("too long for the model")
        return [Prediction(text=text, answer=text.upper()) for text in texts]


def run(model: Model, limits: Limits, story: Callable[[Batcher], Awaitable[None]]) -> None:
    async def main() -> None:
        batcher = Batcher(model.compute, limits, lambda *_: None)
        task = asyncio.create_task(batcher.run())
        try:
            await asyncio.wait_for(story(batcher), 60)
        finally:
            model.release.set()
            task.cancel()
            batcher.close()

    asyncio.run(main())


def test_waiting_rows_are_computed_together_in_turns() -> None:
    model = Model()

    async def story(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.answer(A, [("0",)]))
        while not batcher.computing:
            await asyncio.sleep(0.001)
        large = asyncio.create_task(batcher.answer(A, [("1",), ("2",), ("3",), ("4",), ("5",)]))
        other = asyncio.create_task(batcher.answer(B, [("6",)]))
        left = asyncio.create_task(batcher.answer(A, [("7",)]))
        last = asyncio.create_task(batcher.answer(A, [("8",)]))
        await asyncio.sleep(0.01)
        left.cancel()
        model.release.set()
        answers = await asyncio.gather(first, large, other, last)
        assert [[each.answer for each in found] for found in answers] == [["0"], [*"12345"], ["6"], ["8"]]
        assert batcher.num_waiting == 0

    run(model, Limits(batch_rows=4), story)
    assert model.batches == [("a", ["0"]), ("a", [*"1234"]), ("b", ["6"]), ("a", ["5", "8"])]


def test_rows_within_the_wait_share_a_batch() -> None:
    model = Model()
    model.release.set()

    async def story(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.answer(A, [(text,)]) for text in "abc"))

    run(model, Limits(batch_wait_s=0.05), story)
    assert model.batches == [("a", ["a", "b", "c"])]


def test_failed_batch_fails_its_requests_alone() -> None:
    model = Model()
    model.release.set()

    async def story(batcher: Batcher) -> None:
        with pytest.raises(RuntimeError, match="the model is broken"):
            await batcher.answer(A, [("fine",), ("broken",)])
        assert (await batcher.answer(A, [("fine",)]))[0].answer == "FINE"

    run(model, Limits(), story)


def test_refused_text_fails_its_own_request_alone() -> None:
    model = Model()
    model.release.set()

    async def story(batcher: Batcher) -> None:
        requests = (batcher.answer(A, [(text,)]) for text in ("one", "refused", "two"))
        one, refused, two = await asyncio.gather(*requests, return_exceptions=True)
        assert isinstance(refused, UserError)
        assert [each.answer for found in (one, two) if isinstance(found, list) for each in found] == ["ONE", "TWO"]

    run(model, Limits(batch_wait_s=0.05), story)
    assert model.batches[0] == ("a", ["one", "refused", "two"])


def test_too_many_waiting_rows_are_refused() -> None:
    model = Model()

    async def story(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.answer(A, [("0",)]))
        while not batcher.computing:
            await asyncio.sleep(0.001)
        waiting = asyncio.create_task(batcher.answer(A, [("1",), ("2",)]))
        await asyncio.sleep(0.01)
        with pytest.raises(RequestError) as caught:
            await batcher.answer(A, [("3",), ("4",)])
        assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "overloaded", 1)
        model.release.set()
        await asyncio.gather(first, waiting)

    run(model, Limits(waiting_rows=3), story)


def test_texts_of_like_lengths_share_a_group() -> None:
    assert alike([200, 10, 100, 12, 120, 11]) == [[1, 5, 3], [2, 4], [0]]
    assert alike([]) == []
