"""What is tested on a CPU elsewhere is tested on a GPU here: modules take those tests in and find another device."""

import pytest


@pytest.fixture(scope="session")
def device() -> str:
    return "cuda"
