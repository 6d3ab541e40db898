"""Tokens not read by the head are skipped; ``test_oracle.py`` compares the results with peft's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from orchestrator.core.data import Origin, Source
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.base_model import load_base
from orchestrator.training.packed.layers.attention import NAME
from orchestrator.training.packed.layers.context import number_modules
from orchestrator.training.packed.layers.first_tokens import skip_unread_tokens
from orchestrator.training.packed.layers.flattening import install_hooks
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_roberta
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.training.packed.packs import World, task


class MeanPooler(nn.Module):
    """A pooler that reads every token."""

    def forward(self, hidden_BTD: torch.Tensor) -> torch.Tensor:
        return hidden_BTD.mean(1)


@pytest.mark.parametrize("build", [tiny_bert, tiny_roberta])
@pytest.mark.parametrize("training", [True, False])
def test_last_layer_computes_first_tokens_only(build: Callable[[Path], Path], training: bool, tmp_path: Path) -> None:
    world = World(build(tmp_path / "model"), TinyClassification(), tmp_path / "sweep")
    slot_trials = [world.slot_trial(task(0)), world.slot_trial(task(1, batch_size=4))]
    tokens_of_layers: list[list[int]] = [[], []]
    bert: Any = world.pack.model.base_model
    for layer, counts in zip(bert.encoder.layer, tokens_of_layers, strict=True):
        layer.intermediate.dense.register_forward_hook(lambda _, x, __, counts=counts: counts.append(x[0].shape[1]))
    if training:
        world.stepper.backward(slot_trials[:1])
        world.stepper.backward(slot_trials[1:])
        assert tokens_of_layers[1] == [8, 4]
    else:
        world.stepper.measure(slot_trials, slot_trials[0].update_plan.splits["val"])
        assert sum(tokens_of_layers[1]) == 2 * 20
    assert all(tokens > 2 * rows for tokens, rows in zip(*tokens_of_layers, strict=True))


def flat_model(folder: Path, objective: Objective) -> PreTrainedModel:
    """Return a base model as a pack prepares it, before it skips tokens."""
    source = Source(origin=Origin.LOCAL, name=str(folder))
    model: PreTrainedModel = load_base(source, objective, "cpu", dtype=torch.float32, attention=NAME).model
    number_modules(model)
    model.eval()
    return model


@pytest.mark.parametrize(
    ("build", "objective"), [(tiny_gpt2, TinyClassification()), (tiny_gpt2, TinyCausal())], ids=["classes", "language"]
)
def test_decoder_computes_every_token(build: Callable[[Path], Path], objective: Objective, tmp_path: Path) -> None:
    model = flat_model(build(tmp_path / "model"), objective)
    install_hooks(model)
    assert not skip_unread_tokens(model)


@pytest.mark.parametrize("reads_all", [False, True])
def test_head_reading_all_tokens_gets_all_tokens(reads_all: bool, tmp_path: Path) -> None:
    model = flat_model(tiny_bert(tmp_path / "model"), TinyClassification())
    if reads_all:
        model.base_model.register_module("pooler", MeanPooler())
    install_hooks(model)
    assert skip_unread_tokens(model) is not reads_all
