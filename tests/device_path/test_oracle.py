"""A pack on a device, with padded rows and scaled matrices, trains each trial as peft does."""

from pathlib import Path

import pytest

from tests.training.packed.packs import World
from tests.training.packed.test_oracle import (
    MODELS,
    opened,
    tasks,
    test_accumulated_batches_make_the_update_of_one,
    test_first_gradients_are_pefts,
    test_losses_over_fifty_updates_are_pefts,
    test_the_exported_adapter_has_the_packs_logits,
)

UNQUANTISED = [name for name in sorted(MODELS) if not name.endswith("nf4")]
"""Models to test: transformers loads no 4-bit model on a CPU with another name."""


@pytest.fixture(params=UNQUANTISED)
def world(request: pytest.FixtureRequest, tmp_path: Path, device: str) -> World:
    return opened(request.param, tmp_path, device)
