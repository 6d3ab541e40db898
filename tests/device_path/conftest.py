"""Run the code path of a GPU on the CPU, under the name ``cpu:0``: all slots in one operation, masks from counters.

Triton does not run on a CPU, so an oracle replaces its kernel. ``tests/gpu`` runs these tests and more on a GPU.
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
    stand_in.apply_dropout = counter_masks.apply_dropout  # type: ignore[attr-defined]  # a new module has no attributes
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, KERNELS, stand_in)
        yield
