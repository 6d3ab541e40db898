"""The process's random states, so that each trial has its own and leaves the others' alone.

Dropout draws from torch's global generator, and the Trainer seeds Python, numpy and torch; so a trial's states are
put in place while it trains and taken out again when it hands over.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomState:
    """States of Python's, numpy's and torch's global generators, CUDA devices included."""

    python: Any
    numpy: Any
    cpu: "torch.Tensor"
    cuda: "list[torch.Tensor]"

    @classmethod
    def capture(cls) -> Self:
        """Return the states as they are now."""
        import numpy as np
        import torch

        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(),  # noqa: NPY002  (libraries draw from it)
            cpu=torch.get_rng_state(),
            cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        )

    def restore(self) -> None:
        """Put the states back."""
        import numpy as np
        import torch

        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002  (libraries draw from it)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave the process's random states as they were, whatever happens inside."""
    before = RandomState.capture()
    try:
        yield
    finally:
        before.restore()
