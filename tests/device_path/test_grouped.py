"""The gradients of a step with grouped products are peft's."""

from pathlib import Path

import pytest

from tests.device_path.test_oracle import UNQUANTISED
from tests.training.packed.packs import World
from tests.training.packed.test_oracle import opened, tasks, test_first_gradients_equal_pefts


@pytest.fixture(params=UNQUANTISED)
def world(request: pytest.FixtureRequest, tmp_path: Path, device: str) -> World:
    return opened(request.param, tmp_path, device, grouped=True)
