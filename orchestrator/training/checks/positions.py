"""How many places a model's rows can have."""

from typing import TYPE_CHECKING

from orchestrator.core.data import Source
from orchestrator.core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_TABLES = ("position", "wpe", "pos_embed")
"""Parts of the names of position embeddings."""
_RELATIVE = ("relative", "rel_", "bias")
"""Parts of the names of tables of distances, which serve rows of any length."""
_BY_CONFIGURATION = {
    "codegen": "max_position_embeddings",
    "ctrl": "max_position_embeddings",
    "gptj": "max_position_embeddings",
    "mpt": "max_seq_len",
}
"""Configuration entry with the maximum length, for models with a computed table."""


def require_positions(source: Source, model: "PreTrainedModel", max_length: int) -> list[str]:
    """Refuse rows longer than a model's position embedding; return a note if they are longer than in its training.

    Models with computed positions (rotary, relative, ALiBi) have no bound, but were trained up to some length.

    Raises:
        ModelError: a row may have more tokens than the model has positions.
    """
    bound = position_bound(model)
    if bound is not None and max_length > bound:
        raise ModelError(
            f"data.max_length: at most {bound} tokens fit the positions of {source}, got {max_length}. Set "
            f"data.max_length to {bound} or less, or name a model for longer texts."
        )
    trained = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if bound is None and isinstance(trained, int) and 0 < trained < max_length:
        limit = f"the model was trained on rows of {trained} tokens (max_position_embeddings)"
        return [f"{source}: data.max_length is {max_length}, {limit}; longer rows may reduce its accuracy."]
    return []


def position_bound(model: "PreTrainedModel") -> int | None:
    """Return the number of positions in the model's smallest position embedding; None if it has none."""
    bounds = [bound for name, module in model.named_modules() if (bound := _positions(name, module)) is not None]
    if bounds:  # some tables have more rows than the model has positions
        bounds += [buffer.shape[-1] for name, buffer in model.named_buffers() if name.endswith("position_ids")]
    named = _BY_CONFIGURATION.get(model.config.model_type)
    if named is not None:
        bounds.append(int(getattr(model.config, named)))
    return min(bounds, default=None)


def _positions(name: str, module: "nn.Module") -> int | None:
    """Return the maximum length of a position embedding; some skip their first rows, and FSMT's has no bound."""
    last = name.rpartition(".")[2]
    if not any(part in last for part in _TABLES) or any(part in last for part in _RELATIVE):
        return None
    weight = getattr(module, "weight", None)
    if weight is None or "Embedding" not in type(module).__name__ or weight.ndim != 2 or hasattr(module, "make_weight"):
        return None
    padding_idx = getattr(module, "padding_idx", None)
    skipped = padding_idx + 1 if padding_idx is not None else getattr(module, "offset", 0)  # as RoBERTa; as BART
    return int(weight.shape[0]) - int(skipped)
