"""GroupedProducts products in a whole step: the gradients are peft's."""

import pytest

from orchestrator.training.packed import linear
from tests.device_path.test_oracle import world  # noqa: F401
from tests.training.packed.test_oracle import tasks, test_first_gradients_are_pefts  # noqa: F401


@pytest.fixture(autouse=True)
def has_grouped_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "has_grouped_kernel", lambda *_: True)
