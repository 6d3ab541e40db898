"""Gradient checkpointing computes layers twice, and changes no gradient, also with dropout."""

from pathlib import Path

import pytest
import torch
from torch import nn

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import ModelError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.protocol import Head
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.solo.checkpointing import recompute_activations
from orchestrator.training.solo.dropout import use_fast_dropout
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_objective import TinyClassification


def gradients(folder: Path, *, recomputed: bool) -> tuple[int, dict[str, torch.Tensor]]:
    """Return the forwards of a layer in one step, and the gradients."""
    torch.manual_seed(0)
    base = load_base(Source(origin=Origin.LOCAL, name=str(folder)), TinyClassification(), "cpu")
    model = adapt(base, TrialSettings(dropout=0.3, init="gaussian"), Head.SEQUENCE_CLASSIFICATION).model.train()
    use_fast_dropout(model)
    if recomputed:
        recompute_activations(model, "tiny")
    calls: list[nn.Module] = []
    layer = model.get_base_model().get_submodule("bert.encoder.layer.0.intermediate")
    layer.register_forward_pre_hook(lambda module, _: calls.append(module))
    torch.manual_seed(1)
    model(input_ids=torch.arange(5, 25)[None]).logits.square().sum().backward()
    return len(calls), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_recomputed_activations_change_no_gradient(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    once, expected = gradients(folder, recomputed=False)
    twice, found = gradients(folder, recomputed=True)
    assert (once, twice) == (1, 2)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_model_without_support_is_named(tmp_path: Path) -> None:
    base = load_base(Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path))), TinyClassification(), "cpu")
    base.model.supports_gradient_checkpointing = False
    model = adapt(base, TrialSettings(), Head.SEQUENCE_CLASSIFICATION).model
    with pytest.raises(ModelError, match=r"the code of tiny .* does not support it; write false"):
        recompute_activations(model, "tiny")
