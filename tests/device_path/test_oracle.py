"""A pack on a device, with padded rows and scaled matrices, trains each trial as peft does."""

from pathlib import Path

import pytest

from tests.training.packed.packs import World
from tests.training.packed.test_oracle import (
    MODELS,
    opened,
    tasks,
    test_accumulated_batches_equal_one_batch,
    test_exported_adapter_reproduces_logits,
    test_first_gradients_equal_pefts,
    test_losses_over_fifty_updates_equal_pefts,
)

UNQUANTISED = [name for name in sorted(MODELS) if not name.endswith("nf4")]
"""Models to test: transformers loads no 4-bit model on a CPU with another name."""


@pytest.fixture(params=UNQUANTISED)
def world(request: pytest.FixtureRequest, tmp_path: Path, device: str) -> World:
    return opened(request.param, tmp_path, device)
