"""The device path of the packed engine on a CPU under another name: masks from counters, one operation for all slots.

Triton does not run on a CPU, so the oracle of its kernel replaces it. ``tests/gpu`` runs the same tests, and more, on a
GPU.
"""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from tests.fakes import counter_masks

KERNELS = "orchestrator.training.packed.masks.kernels"


@pytest.fixture(scope="session")
def device() -> str:
    return "cpu:0"


@pytest.fixture(scope="session", autouse=True)
def kernels() -> Iterator[None]:
    replacement = ModuleType(KERNELS)
    replacement.apply_dropout = counter_masks.apply_dropout  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, KERNELS, replacement)
        yield
