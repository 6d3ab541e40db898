"""A home of their own for tests of searches: sweeps of the checkout take the names and generations used here."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = os.environ.get("LORATORY_HOME")
    os.environ["LORATORY_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    if before is None:
        del os.environ["LORATORY_HOME"]
    else:
        os.environ["LORATORY_HOME"] = before
