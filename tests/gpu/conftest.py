"""Run tests of the CPU on a GPU: modules import them, and the fixture ``device`` is ``cuda``."""

import pytest


@pytest.fixture(scope="session")
def device() -> str:
    return "cuda"
