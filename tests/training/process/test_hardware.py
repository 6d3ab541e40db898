"""The device and the precision of a process."""

import pytest
import torch

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import Precision
from orchestrator.training.process.hardware import choose_device, computes_in_bfloat16


def test_device_and_precision_follow_the_hardware() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="device: cuda needs a CUDA device"):
            choose_device("cuda")
    assert computes_in_bfloat16(Precision.BFLOAT16, "cpu")
    assert not computes_in_bfloat16(Precision.FLOAT32, "cpu")
    native = torch.cpu.get_capabilities()
    assert computes_in_bfloat16(Precision.AUTO, "cpu") == bool(native.get("avx512_bf16") or native.get("amx_bf16"))
