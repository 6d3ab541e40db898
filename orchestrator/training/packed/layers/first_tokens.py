"""The end of an encoder whose head reads each row's first token alone: nothing else is computed there.

A classifier over BERT, RoBERTa and their like takes one vector a row. Behind the last attention nobody reads the other
tokens' values, and they have no gradient: 9 of the 12 hidden × hidden products of the last layer are saved for all
tokens but one a row, an eighth of what a model of six layers computes. What comes out is the same.
"""

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from orchestrator.evaluation.measure import forward
from orchestrator.training.packed.layout.blocks import batch_layout, current, use_context

_IDS = ((3, 4, 5), (5, 4, 3))
"""Rows of a forward that shows what a head reads; any tokens do."""


def compute_first_tokens_alone(model: PreTrainedModel) -> bool:
    """Have the last layer go on with each row's first token, if it is built so and the head reads no other.

    Returns whether that is so. The model has its hooks for flat tokens already, and is in eval mode.
    """
    encoder = getattr(model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", None)
    behind = getattr(getattr(layers[-1], "attention", None), "output", None) if layers else None
    if encoder is None or behind is None:
        return False
    whole = _logits(model)
    if not torch.equal(_without(model, encoder, firsts=False), whole):
        return False
    if torch.equal(_without(model, encoder, firsts=True), whole):
        return False  # a head that is all zeros shows nothing
    hook = behind.register_forward_pre_hook(_select)
    try:
        same = torch.allclose(_logits(model), whole, rtol=1e-2, atol=1e-3)  # to the rounding of bfloat16
    except Exception:  # noqa: BLE001  (whatever the layer's code makes of shorter values: then it gets all of them)
        same = False
    if not same:
        hook.remove()
    return same


def _select(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Take the first tokens of what attention found, and of what it is added to."""
    layout = current()
    return tuple(values_1ND.index_select(1, layout.firsts_B) for values_1ND in given)


def _without(model: PreTrainedModel, encoder: nn.Module, *, firsts: bool) -> torch.Tensor:
    """Return the logits if the rows' first tokens, or all others, come out of the encoder as zeros."""

    def forget(_: nn.Module, __: Any, output: Any) -> Any:  # noqa: ANN401
        hidden_1ND = output["last_hidden_state"]
        first_N = torch.zeros(hidden_1ND.shape[1], dtype=torch.bool, device=hidden_1ND.device)
        first_N[current().firsts_B] = True
        output["last_hidden_state"] = hidden_1ND.masked_fill((first_N == firsts)[:, None], 0.0)
        return output

    hook = encoder.register_forward_hook(forget)
    try:
        return _logits(model)
    finally:
        hook.remove()


def _logits(model: PreTrainedModel) -> torch.Tensor:
    ids_BT = torch.tensor(_IDS, device=model.device)
    batch = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    with torch.inference_mode(), use_context(batch_layout(batch["attention_mask"], {0: len(_IDS)}, 1, model.dtype)):
        return forward(model, batch)
