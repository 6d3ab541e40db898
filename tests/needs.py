"""Marks of tests that need what not every installation has."""

import importlib.util
import shutil

import pytest

cuda = pytest.mark.skipif(
    "not __import__('torch').cuda.is_available()",  # looked at when a test is due: importing torch takes seconds
    reason="needs a CUDA device, and torch.cuda.is_available() is False",
)
bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed",
)
deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None,
    reason="DeepSpeed is not installed",
)
tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="TensorFlow is not installed",
)
chromium = pytest.mark.skipif(
    shutil.which("chromium") is None,
    reason="Chromium is not installed: apt-get install chromium (CONTRIBUTING.md)",
)
