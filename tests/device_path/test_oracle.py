"""What a pack computes for a trial with its rows spread, padded and scaled is what peft computes for it alone."""

from pathlib import Path

import pytest

from tests.training.packed.packs import World
from tests.training.packed.test_oracle import (  # noqa: F401
    MODELS,
    opened,
    tasks,
    test_accumulated_batches_make_the_update_of_one,
    test_first_gradients_are_pefts,
    test_losses_over_fifty_updates_are_pefts,
    test_the_exported_adapter_has_the_packs_logits,
)


@pytest.fixture(params=[name for name in sorted(MODELS) if not name.endswith("nf4")])
def world(request: pytest.FixtureRequest, tmp_path: Path, device: str) -> World:
    """Packs over bases that are not in 4 bits: transformers puts those on no CPU that goes by another name."""
    return opened(request.param, tmp_path, device)
