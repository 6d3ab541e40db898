"""What a pack does on a device, on a CPU that goes by another name: all slots in one operation, masks from counters.

Triton has no CPU, so its kernel is stood in for by its oracle. ``tests/gpu`` runs the same tests, and more, on a
real device.
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
    stand_in = ModuleType(KERNELS)
    stand_in.apply_dropout = counter_masks.apply_dropout  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, KERNELS, stand_in)
        yield
