"""Worker threads: order, errors and torch's modes."""

import threading
import time

import pytest
import torch

from orchestrator.evaluation.thread_group import ThreadGroup


def test_parts_are_balanced_and_ordered() -> None:
    thread_group = ThreadGroup(2)
    parts = thread_group.split([7, 1, 5, 3, 4], float)
    assert sorted(item for part in parts for item in part) == [1, 3, 4, 5, 7]
    assert {sum(part) for part in parts} <= {9, 10, 11}
    assert all(part == [item for item in (7, 1, 5, 3, 4) if item in part] for part in parts)
    assert thread_group.split([7], float) == [[7]]
    thread_group.close()


def test_results_keep_order_with_one_core_per_thread() -> None:
    thread_group = ThreadGroup(2)
    result = thread_group.map(lambda part: (part, threading.current_thread().name, torch.get_num_threads()), [1, 2])
    assert [part for part, _, _ in result] == [1, 2]
    assert {threads for _, _, threads in result} == {1}
    assert all(name.startswith("thread_group") for _, name, _ in result)
    assert thread_group.map(lambda part: threading.current_thread() is threading.main_thread(), [1]) == [True]
    thread_group.close()


def test_error_is_raised_after_all_parts_finish() -> None:
    thread_group, ended = ThreadGroup(2), []

    def work(part: int) -> None:
        if part == 0:
            raise ValueError("of part 0")
        time.sleep(0.2)
        ended.append(part)

    with pytest.raises(ValueError, match="of part 0"):
        thread_group.map(work, [0, 1])
    assert ended == [1]
    thread_group.close()


@pytest.mark.parametrize("inference", [True, False])
def test_inference_mode_reaches_worker_threads(inference: bool) -> None:
    thread_group = ThreadGroup(2)
    with torch.inference_mode(inference):
        assert thread_group.map(lambda _: torch.is_inference_mode_enabled(), [1, 2]) == [inference] * 2
    thread_group.close()
