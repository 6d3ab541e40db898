"""The dropout kernel computes Philox of its counters, whatever the neighbours."""

import pytest
import torch

from orchestrator.training.packed.masks.device import DeviceMasks
from orchestrator.training.packed.masks.streams import DropoutStream
from tests import needs
from tests.contracts.mask_contract import MaskContract
from tests.fakes import counter_masks

pytestmark = needs.cuda

ENDS = (20, 50)


class TestMasks(MaskContract):
    """The masks of a device."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(50, 384), (50, 7), (50, 3, 5, 6), (50, 12, 64, 64)], ids=str)
def test_kernel_equals_its_oracle(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> None:
    from orchestrator.training.packed.masks.kernels import apply_dropout

    tables = {
        "groups_N": torch.tensor([0] * ENDS[0] + [1] * (ENDS[1] - ENDS[0]), dtype=torch.int32, device=device),
        "offsets_G": torch.tensor([0, ENDS[0]], dtype=torch.int32, device=device),
        "seeds_G": torch.tensor([5, 2**31 - 1], device=device),
        "forwards_G": torch.tensor([0, 70_000], dtype=torch.int32, device=device),
        "thresholds_G": torch.tensor([2**30, 2**31], device=device),
    }
    values = torch.randn(shape, device=device, dtype=dtype)
    found, expected = torch.full_like(values, torch.nan), torch.empty_like(values)
    apply_dropout(values, found, **tables, site=2**31 - 2, scale=1.5)
    counter_masks.apply_dropout(values, expected, **tables, site=2**31 - 2, scale=1.5)
    assert torch.equal(found, expected)
    assert (found[: ENDS[0]] == 0).float().mean().item() == pytest.approx(0.25, abs=0.15)


def test_restored_stream_continues_masks(device: str) -> None:
    random = DropoutStream(3, 0.25, device)
    for _ in range(3):
        DeviceMasks({0: random}, device)
    other = DropoutStream(3, 0.25, device)
    other.restore(random.state())
    assert other.forwards == random.forwards == 3
