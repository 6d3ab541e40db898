"""How many places a model's rows can have."""

from typing import TYPE_CHECKING

from orchestrator.core.data import Source
from orchestrator.core.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

_TABLES = ("position", "wpe", "pos_embed")
"""Parts of the names that models give to their tables of positions."""
_RELATIVE = ("relative", "rel_", "bias")
"""Parts of the names of tables that hold distances, for rows of any length."""
_BY_CONFIGURATION = {
    "codegen": "max_position_embeddings",
    "ctrl": "max_position_embeddings",
    "gptj": "max_position_embeddings",
    "mpt": "max_seq_len",
}
"""What bounds the models that compute a table themselves, by type of model."""


def require_positions(source: Source, model: "PreTrainedModel", max_length: int) -> list[str]:
    """Refuse rows that are longer than a model's table of positions; return a note if they are longer than was trained.

    Models that compute positions (rotary, relative, ALiBi) have no such bound, but were trained up to some length.

    Raises:
        ModelError: a row would have more places than the model.
    """
    bound = position_bound(model)
    if bound is not None and max_length > bound:
        raise ModelError(
            f"data.max_length: at most {bound} tokens fit the positions of {source}, got {max_length}. Set "
            f"data.max_length to {bound} or less, or name a model for longer texts."
        )
    trained = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if bound is None and isinstance(trained, int) and 0 < trained < max_length:
        told = f"the model was made for {trained} tokens (max_position_embeddings)"
        return [f"{source}: data.max_length is {max_length}, {told}; longer rows may be read badly."]
    return []


def position_bound(model: "PreTrainedModel") -> int | None:
    """Return the number of places of the model's smallest table of positions; None if it has none."""
    found = [bound for name, module in model.named_modules() if (bound := _places(name, module)) is not None]
    if found:  # some tables have more rows than the model has places
        found += [buffer.shape[-1] for name, buffer in model.named_buffers() if name.endswith("position_ids")]
    named = _BY_CONFIGURATION.get(model.config.model_type)
    if named is not None:
        found.append(int(getattr(model.config, named)))
    return min(found, default=None)


def _places(name: str, module: "nn.Module") -> int | None:
    """Return how many tokens a table of positions serves; some leave out their first rows, FSMT's grows."""
    last = name.rpartition(".")[2]
    if not any(part in last for part in _TABLES) or any(part in last for part in _RELATIVE):
        return None
    weight = getattr(module, "weight", None)
    if weight is None or "Embedding" not in type(module).__name__ or weight.ndim != 2 or hasattr(module, "make_weight"):
        return None
    padding_idx = getattr(module, "padding_idx", None)
    skipped = padding_idx + 1 if padding_idx is not None else getattr(module, "offset", 0)  # as RoBERTa; as BART
    return int(weight.shape[0]) - int(skipped)
