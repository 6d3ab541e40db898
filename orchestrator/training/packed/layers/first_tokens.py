"""Skips tokens in the last layer of an encoder whose head reads only the first token of each row.

A classifier over BERT, RoBERTa and similar models reads one vector per row. After the last attention, the other tokens
have neither a reader nor a gradient. Skipping them saves 9 of the 12 products of size hidden × hidden in the last
layer, an eighth of the work of a model with six layers. The result is the same.
"""

import logging
from collections.abc import MutableMapping

import torch
from torch import nn
from transformers import PreTrainedModel

from orchestrator.core.errors import in_short
from orchestrator.evaluation.measure import forward
from orchestrator.training.packed.layers.context import current, forward_context
from orchestrator.training.packed.layout.blocks import batch_layout
from orchestrator.training.process.memory import out_of_memory

logger = logging.getLogger(__name__)

_IDS = ((3, 4, 5), (5, 4, 3))
"""Token ids of two rows for trial forwards; any ids do."""


def skip_unread_tokens(model: PreTrainedModel) -> bool:
    """Skip all but the first token of each row in the last layer, if the model permits it; return whether it does.

    Trial forwards show whether the head reads other tokens, and whether the layer computes the same with fewer. The
    model has the hooks of ``flattening`` and is in eval mode.
    """
    encoder = getattr(model.base_model, "encoder", None)
    layers = getattr(encoder, "layer", None)
    after_attention = getattr(getattr(layers[-1], "attention", None), "output", None) if layers else None
    if encoder is None or after_attention is None:
        return False
    expected = _logits(model)
    if not torch.equal(_logits_without(model, encoder, first_tokens=False), expected):
        return False
    if torch.equal(_logits_without(model, encoder, first_tokens=True), expected):
        return False  # a head of zeros proves nothing
    hook = after_attention.register_forward_pre_hook(_select_first_tokens)
    try:
        same = torch.allclose(_logits(model), expected, rtol=1e-2, atol=1e-3)  # within the rounding of bfloat16
    except Exception as error:  # a layer's code may fail in any way on fewer tokens; it then gets all of them
        if out_of_memory(error):
            raise
        logger.info("the last layer gets all tokens: %s", in_short(error))
        same = False
    if not same:
        hook.remove()
    return same


def _select_first_tokens(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Select the first tokens in attention's output and in the residual."""
    layout = current().layout
    return tuple(values_1ND.index_select(1, layout.first_tokens_B) for values_1ND in inputs)


def _logits_without(model: PreTrainedModel, encoder: nn.Module, *, first_tokens: bool) -> torch.Tensor:
    """Return the logits with zeros in place of the encoder's first tokens, or of all its other tokens."""

    def erase(_: nn.Module, __: object, output: MutableMapping[str, torch.Tensor]) -> MutableMapping[str, torch.Tensor]:
        hidden_1ND = output["last_hidden_state"]
        first_N = torch.zeros(hidden_1ND.shape[1], dtype=torch.bool, device=hidden_1ND.device)
        first_N[current().layout.first_tokens_B] = True
        output["last_hidden_state"] = hidden_1ND.masked_fill((first_N == first_tokens)[:, None], 0.0)
        return output

    hook = encoder.register_forward_hook(erase)
    try:
        return _logits(model)
    finally:
        hook.remove()


def _logits(model: PreTrainedModel) -> torch.Tensor:
    ids_BT = torch.tensor(_IDS, device=model.device)
    batch = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    layout = batch_layout(batch["attention_mask"], {0: len(_IDS)}, 1, model.dtype)
    with torch.inference_mode(), forward_context(layout):
        return forward(model, batch)
