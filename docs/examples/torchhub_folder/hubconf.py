"""A repository of PyTorch Hub: each function is an entry. It returns a transformers model and its tokenizer."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

dependencies = ["transformers"]
"""Packages that torch.hub looks for before it calls an entry."""


def lower_layers(layers: int = 3) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Return the packaged MiniLM with its lower layers alone; it has six."""
    from transformers import AutoModel, AutoTokenizer

    from orchestrator.assets.fetch import fetch

    folder = fetch("minilm")
    return AutoModel.from_pretrained(folder, num_hidden_layers=layers), AutoTokenizer.from_pretrained(folder)
