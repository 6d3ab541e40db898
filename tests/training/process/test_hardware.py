"""The device and the precision of a process."""

import pytest
import torch

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import Precision
from orchestrator.training.process.hardware import choose_device, number_format


def test_device_and_precision_follow_the_hardware() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device: cuda needs a CUDA device"):
            choose_device("cuda")
    for given in (Precision.FLOAT32, Precision.BFLOAT16, Precision.FLOAT16):
        assert number_format(given, "cpu") is given
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    assert number_format(Precision.AUTO, "cpu") is (Precision.BFLOAT16 if native else Precision.FLOAT32)
