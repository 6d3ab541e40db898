"""Random states are restored."""

import random

import numpy as np
import pytest
import torch

from orchestrator.training.process.random_state import RandomState, kept_random_state


def test_random_states_are_restored_after_errors() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()  # noqa: NPY002  (the tested state)

    before = RandomState.capture()
    first = draw()
    before.restore()

    def fail() -> None:
        with kept_random_state():
            torch.manual_seed(3)
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert draw() == first
