"""Fast dropout: its distribution, its generator, and the modules replaced."""

import pytest
import torch
from torch import nn

from orchestrator.training.solo.dropout import FastDropout, use_fast_dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fast_dropout_has_dropouts_distribution(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = FastDropout(p).train()
    x = torch.ones(401, 1003, dtype=dtype, requires_grad=True)
    y = layer(x)
    dropped = (y == 0).float()
    assert y.dtype == dtype
    assert dropped.mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / x.numel()) ** 0.5)
    assert y[y != 0].unique().numel() == 1
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=1e-2 if dtype is torch.bfloat16 else 1e-4)
    # Neighbours share 64 random bits, but must be independent.
    assert (dropped[:, 1:] * dropped[:, :-1]).mean().item() == pytest.approx(p * p, abs=0.005)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_fast_dropout_uses_torchs_generator_in_training_only() -> None:
    layer, x = FastDropout(0.5).train(), torch.ones(100)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    assert layer.eval()(x) is x or torch.equal(layer(x), x)
    assert torch.equal(FastDropout(0.0).train()(x), x)
    assert not FastDropout(1.0).train()(x).any()


def test_every_dropout_module_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)), nn.ModuleDict({"a": nn.Dropout(0.2)}))
    use_fast_dropout(model)
    assert [type(m) for m in model.modules() if isinstance(m, nn.Dropout)] == [FastDropout, FastDropout]
    assert [m.p for m in model.modules() if isinstance(m, FastDropout)] == [0.3, 0.2]
