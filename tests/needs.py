"""Marks of tests that need what not every installation has."""

import importlib.util
import shutil

import pytest


def is_installed(package: str) -> bool:
    """Return whether a package can be imported. The folder of a removed one may hold compiled files of pytest."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


cuda = pytest.mark.skipif(
    "not __import__('torch').cuda.is_available()",  # looked at when a test is due: importing torch takes seconds
    reason="needs a CUDA device, and torch.cuda.is_available() is False",
)
bitsandbytes = pytest.mark.skipif(
    not is_installed("bitsandbytes"),
    reason="bitsandbytes is not installed",
)
deepspeed = pytest.mark.skipif(
    not is_installed("deepspeed"),
    reason="DeepSpeed is not installed",
)
tensorflow = pytest.mark.skipif(
    not is_installed("tensorflow"),
    reason="TensorFlow is not installed",
)
chromium = pytest.mark.skipif(
    shutil.which("chromium") is None,
    reason="Chromium is not installed: apt-get install chromium (CONTRIBUTING.md)",
)
