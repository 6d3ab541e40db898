"""How a model comes to see flat tokens: hooks before and after its stacks, so that no model's code is copied.

An encoder, or a decoder, is one stack. A sequence-to-sequence model has two, and each has a layout of its own: what the
decoder writes has other lengths than what the encoder read.
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from orchestrator.training.packed.layout.blocks import current, set_decoder_layout


def install(model: PreTrainedModel) -> None:
    """Have the model's stacks see flat tokens, and a head that classifies rows by tokens, as ever."""
    for module in model.modules():
        if hasattr(module, "compute_bias"):
            _bias_of_the_longest(module)
    last = model.base_model
    if model.config.is_encoder_decoder:
        encoder, last = model.get_encoder(), model.get_decoder()
        encoder.register_forward_pre_hook(_flattening(encoder), with_kwargs=True)
        encoder.register_forward_hook(_hand_over)
    last.register_forward_pre_hook(_flattening(last), with_kwargs=True)
    if model.get_output_embeddings() is None:  # a head that writes takes each token by itself, wherever it stands
        last.register_forward_hook(_pad)
    pooler = getattr(last, "pooler", None)
    if isinstance(pooler, nn.Module):
        pooler.register_forward_pre_hook(lambda _, inputs: (current().pad(inputs[0]),))


def _flattening(stack: nn.Module) -> Callable[..., tuple[tuple[()], dict[str, Any]]]:
    """Return the hook that gives a stack flat tokens instead of rows; a decoder goes on with a layout of its own."""
    signature = inspect.signature(stack.forward)
    takes = set(signature.parameters)

    def flatten(_: nn.Module, given: Any, named: dict[str, Any]) -> tuple[tuple[()], dict[str, Any]]:  # noqa: ANN401
        bound = signature.bind(*given, **named).arguments
        inputs = {**bound.pop("kwargs", {}), **bound}
        flat = {name: value for name, value in inputs.items() if not isinstance(value, torch.Tensor)}
        read_N1D = inputs.get("encoder_hidden_states")
        if read_N1D is not None:
            if inputs.get("attention_mask") is None:
                raise ValueError("the decoder is given no mask, which would tell the lengths of its rows")
            set_decoder_layout(current().beside(inputs["attention_mask"], read_N1D.dtype))
            flat["encoder_hidden_states"] = read_N1D
        layout, ids_BT = current(), inputs["input_ids"]
        flat["input_ids"] = layout.flatten(ids_BT)
        flat["position_ids"] = layout.flatten(_positions(stack, ids_BT))
        if "token_type_ids" in takes and hasattr(getattr(stack, "embeddings", None), "token_type_embeddings"):
            types_BT = inputs.get("token_type_ids")
            flat["token_type_ids"] = layout.flatten(torch.zeros_like(ids_BT) if types_BT is None else types_BT)
        if "use_cache" in takes:
            flat["use_cache"] = False
        return (), flat

    return flatten


def _hand_over(_: nn.Module, __: Any, output: Any) -> Any:  # noqa: ANN401
    """Give the encoder's tokens the shape by which a decoder's layers know them, N × 1 × D."""
    output["last_hidden_state"] = output["last_hidden_state"].transpose(0, 1)
    return output


def _pad(_: nn.Module, __: Any, output: Any) -> Any:  # noqa: ANN401
    output["last_hidden_state"] = current().pad(output["last_hidden_state"])
    return output


def _bias_of_the_longest(attention: nn.Module) -> None:
    """Have relative position biases (T5) computed for the longest row, of which each block takes its part.

    The model asks for as many positions as there are tokens, which are those of all slots.
    """
    own = attention.compute_bias

    def compute_bias(*_: int, **named: Any) -> torch.Tensor:  # noqa: ANN401
        longest = current().longest
        bias_1HTT: torch.Tensor = own(longest, longest, **named)  # type: ignore[operator]
        return bias_1HTT

    attention.compute_bias = compute_bias  # type: ignore[assignment]


def _positions(stack: nn.Module, ids_BT: torch.Tensor) -> torch.Tensor:
    """Return ``positions_BT`` as the model counts them itself: some (RoBERTa) begin after the padding's id."""
    embeddings = getattr(stack, "embeddings", None)
    own = getattr(embeddings, "create_position_ids_from_input_ids", None)
    if own is not None:
        positions: torch.Tensor = own(ids_BT, embeddings.padding_idx)  # type: ignore[union-attr]
        return positions
    return torch.arange(ids_BT.shape[1], device=ids_BT.device).expand_as(ids_BT)
