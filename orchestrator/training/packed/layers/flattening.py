"""Hooks that give a model the tokens of all slots as one row, without a copy of the model's code.

The hooks are on the encoder or the decoder of the model. A sequence-to-sequence model has both, each with its own
layout, because the decoder's rows have other lengths than the encoder's.
"""

import inspect
from collections.abc import Callable, MutableMapping
from typing import TypeAlias

import torch
from torch import nn
from transformers import PreTrainedModel

from orchestrator.training.packed.layers.context import current

_Outputs: TypeAlias = MutableMapping[str, torch.Tensor]
_Flattened: TypeAlias = tuple[tuple[()], dict[str, object]]
_BIAS = "compute_bias"


def install_hooks(model: PreTrainedModel) -> None:
    """Make the model's encoder and decoder compute flat tokens; a classification head gets rows as usual."""
    for module in model.modules():
        if hasattr(module, _BIAS):
            _compute_longest_bias(module)
    last = model.base_model
    if model.config.is_encoder_decoder:
        encoder, last = model.get_encoder(), model.get_decoder()
        encoder.register_forward_pre_hook(_flattening_hook(encoder), with_kwargs=True)
        encoder.register_forward_hook(_mark_encoder_output)
    last.register_forward_pre_hook(_flattening_hook(last), with_kwargs=True)
    if model.get_output_embeddings() is None:  # a language-model head computes each token by itself
        last.register_forward_hook(_unflatten_output)
    pooler = getattr(last, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.register_forward_pre_hook(lambda _, inputs: (current().layout.unflatten(inputs[0]),))


def _flattening_hook(coder: nn.Module) -> Callable[..., _Flattened]:
    """Return a hook on an encoder or decoder: it flattens the input, and makes a decoder's layout current."""
    signature = inspect.signature(coder.forward)
    parameters = set(signature.parameters)

    def flatten(
        _: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[()], dict[str, object]]:
        bound = signature.bind(*args, **kwargs).arguments
        inputs = {**bound.pop("kwargs", {}), **bound}
        flat = {name: value for name, value in inputs.items() if not isinstance(value, torch.Tensor)}
        encoded_M1D = inputs.get("encoder_hidden_states")
        context = current()
        if encoded_M1D is not None:
            if inputs.get("attention_mask") is None:
                raise ValueError("the decoder is given no mask, so the lengths of its rows are unknown")
            context.layout = context.layout.decoder_layout(inputs["attention_mask"], encoded_M1D.dtype)
            flat["encoder_hidden_states"] = encoded_M1D
        layout, ids_BT = context.layout, inputs["input_ids"]
        flat["input_ids"] = layout.flatten(ids_BT)
        flat["position_ids"] = layout.flatten(_positions(coder, ids_BT))
        if context.cache is not None and context.cache.is_reading:
            flat["position_ids"] = context.cache.positions_B[None]
        if "token_type_ids" in parameters and hasattr(getattr(coder, "embeddings", None), "token_type_embeddings"):
            types_BT = inputs.get("token_type_ids")
            flat["token_type_ids"] = layout.flatten(torch.zeros_like(ids_BT) if types_BT is None else types_BT)
        if "use_cache" in parameters:
            flat["use_cache"] = False
        return (), flat

    return flatten


def _mark_encoder_output(_: nn.Module, __: object, output: _Outputs) -> _Outputs:
    """Give the encoder's tokens the shape N × 1 × D, by which ``Layout.layout_of`` recognises them."""
    output["last_hidden_state"] = output["last_hidden_state"].transpose(0, 1)
    return output


def _unflatten_output(_: nn.Module, __: object, output: _Outputs) -> _Outputs:
    output["last_hidden_state"] = current().layout.unflatten(output["last_hidden_state"])
    return output


def _compute_longest_bias(attention: nn.Module) -> None:
    """Compute relative position biases (T5) for the longest row; each block reads its part.

    The model asks for as many positions as there are flat tokens.
    """
    original: Callable[..., torch.Tensor] = getattr(attention, _BIAS)

    def compute_bias(*_: object, **kwargs: object) -> torch.Tensor:
        longest = current().layout.longest
        return original(longest, longest, **kwargs)

    vars(attention)[_BIAS] = compute_bias


def _positions(coder: nn.Module, ids_BT: torch.Tensor) -> torch.Tensor:
    """Return ``positions_BT`` as the model counts them: some models (RoBERTa) start after the padding's id."""
    embeddings = getattr(coder, "embeddings", None)
    create_position_ids = getattr(embeddings, "create_position_ids_from_input_ids", None)
    if create_position_ids is not None:
        positions_BT: torch.Tensor = create_position_ids(ids_BT, getattr(embeddings, "padding_idx", None))
        return positions_BT
    return torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
