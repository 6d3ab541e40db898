"""Save and restore the global random states of the process, so that each trial has its own.

Dropout draws from torch's global generator, and the Trainer seeds Python, numpy and torch. The states of a trial are
restored before it trains and saved when it pauses.
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
    """The states of the global generators of Python, numpy and torch, CUDA devices included."""

    python: Any
    numpy: Any
    cpu: "torch.Tensor"
    cuda: "list[torch.Tensor]"

    @classmethod
    def capture(cls) -> Self:
        """Return the current states."""
        import numpy as np
        import torch

        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(),  # noqa: NPY002  (libraries draw from it)
            cpu=torch.get_rng_state(),
            cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        )

    def restore(self) -> None:
        """Make these the current states."""
        import numpy as np
        import torch

        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002  (libraries draw from it)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Restore the current random states at the end of the block, also after an error."""
    before = RandomState.capture()
    try:
        yield
    finally:
        before.restore()
