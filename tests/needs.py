"""Marks of tests that need what not every installation has."""

import importlib.util

import pytest

bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed",
)
