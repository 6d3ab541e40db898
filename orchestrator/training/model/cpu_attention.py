"""Choose the attention implementation on a CPU: eager if it gives the results of the model's default.

The backward of fused attention is slow on a CPU (benchmarks/history). But eager attention of some models (Falcon
with ALiBi) gives other results than the default, and an exported adapter is loaded with the default.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.models import resolve_model
from orchestrator.core.data import Source
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Head
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.model.trial_weights import scale_up_weights
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

EAGER = "eager"
_LENGTHS = (24, 11, 5)
_TOLERANCE = 1e-4
"""Maximum difference of the logits, relative to the largest logit."""

logger = logging.getLogger(__name__)
_chosen: dict[tuple[object, ...], str | None] = {}


def implemented_by(attention: str | None) -> dict[str, str]:
    """Return the argument of ``from_pretrained`` for an implementation; empty for the model's default."""
    return {} if attention is None else {"attn_implementation": attention}


def attention_on_cpu(source: Source, head: Head, load: Callable[..., Any]) -> str | None:
    """Return ``eager``, or None if the model's default gives other results; compared once per process.

    Args:
        source: the model.
        head: head of the loaded model.
        load: loads the model by ``from_pretrained`` with further arguments, not quantised.
    """
    folder = Path(resolve_model(source)) / "config.json"
    changed = folder.stat().st_mtime_ns if folder.is_file() else 0
    key = (source, head, changed)
    if key not in _chosen:
        with kept_random_state():
            _chosen[key] = _compared(source, load)
    return _chosen[key]


def _compared(source: Source, load: Callable[..., Any]) -> str | None:
    try:
        with quiet_libraries():
            default, expected = _logits(load)
            if default == EAGER:
                return EAGER
            _, eager = _logits(load, EAGER)
        difference = ((eager - expected).abs().max() / expected.abs().max().clamp(min=1e-6)).item()
    except (
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
    ) as error:  # raised by the code of the model
        logger.warning("%s: cannot compare attention implementations (%s); using the default", source, error)
        return None
    if difference <= _TOLERANCE:
        return EAGER
    logger.warning(
        "%s: the logits of eager attention differ from the default, %s, by %.2g of the largest; "
        "using %s, as when the exported adapter is loaded",
        source,
        default,
        difference,
        default,
    )
    return None


def _logits(load: Callable[..., Any], attention: str | None = None) -> "tuple[str, torch.Tensor]":
    """Return the attention implementation of a newly loaded model, and its logits for generated rows."""
    import torch

    torch.manual_seed(0)  # weights missing in the files are drawn
    model: PreTrainedModel = load(dtype=torch.float32, **implemented_by(attention)).eval()
    if model.config._attn_implementation == EAGER and attention is None:
        return EAGER, torch.empty(0)
    scale_up_weights(model)
    batch = _random_rows(model)
    with torch.inference_mode():
        logits = forward(model, batch).float()
    if logits.dim() == 3 and "decoder_input_ids" not in batch:  # logits at padding are meaningless
        logits = logits[batch["attention_mask"].bool()]
    return model.config._attn_implementation, logits


def _random_rows(model: "PreTrainedModel") -> "dict[str, torch.Tensor]":
    """Return random rows of several lengths, padded on the right, each with one end token, as in BART's classifiers."""
    import torch

    config = model.config.get_text_config()
    special = {
        token
        for name, value in config.to_dict().items()
        if name.endswith("_token_id")
        for token in (value if isinstance(value, list) else [value])
    }
    ordinary = torch.tensor([token for token in range(min(config.vocab_size, 4096)) if token not in special])
    padding = getattr(config, "pad_token_id", None) or 0
    end = getattr(config, "eos_token_id", None)
    ids_BT = torch.full((len(_LENGTHS), max(_LENGTHS)), padding)
    mask_BT = torch.zeros_like(ids_BT)
    for row, length in enumerate(_LENGTHS):
        ids_BT[row, :length] = ordinary[torch.randint(len(ordinary), (length,))]
        mask_BT[row, :length] = 1
        if isinstance(end, int):
            ids_BT[row, length - 1] = end
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = padding
    batch = {"input_ids": ids_BT, "attention_mask": mask_BT}
    decodes = model.config.is_encoder_decoder and model.get_output_embeddings() is not None
    return {**batch, "decoder_input_ids": ids_BT[:, : min(_LENGTHS)]} if decodes else batch
