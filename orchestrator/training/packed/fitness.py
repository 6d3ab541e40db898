"""Whether a model can be packed: not by its name, but by what comes out of it."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from orchestrator.core.data import Source
from orchestrator.core.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Objective
from orchestrator.training.base_model import load_base
from orchestrator.training.packed.layout import lay_out
from orchestrator.training.packed.pack import Pack
from orchestrator.training.rng import kept_random_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOLERANCE = 1e-4

logger = logging.getLogger(__name__)


def reason_not_to_pack(
    source: Source,
    objective: Objective,
    device: str,
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Example],
    quantisation: Quantisation | None = None,
) -> str | None:
    """Return why a model cannot be packed, in words, or None if it can.

    The logits of a few rows of different lengths are computed by the model as it is and by a pack of two slots, both in
    float32; where they differ, or the pack fails, the model's code does something that a pack does not know.
    """
    rows = sorted(rows[:64], key=lambda row: len(row["input_ids"]))
    chosen = [rows[at * (len(rows) - 1) // 3] for at in range(4)]
    batch = {name: value.to(device) for name, value in objective.collate(chosen, tokenizer).items()}
    with kept_random_state(), torch.inference_mode():
        torch.manual_seed(0)
        plain = forward(load_base(source, objective, device, quantisation=quantisation).model.eval(), batch)
        torch.manual_seed(0)
        try:
            pack = Pack(source, objective, device, torch.float32, quantisation)
            pack.model.eval()
            packed = pack.logits(batch, lay_out(batch["attention_mask"], {0: 2, 1: 2}, 2, torch.float32))
        except Exception as error:  # every cause is let through in the answer: the solo engine trains what fails here
            logger.exception("the model cannot be packed")
            return f"{type(error).__name__}: {error}"
    if packed.shape != plain.shape:
        return f"its packed logits have the shape {tuple(packed.shape)}, alone {tuple(plain.shape)}"
    if plain.dim() == 3:  # logits by token: what stands at padding is nobody's
        plain, packed = (logits[batch["attention_mask"].bool()] for logits in (plain, packed))
    difference = ((packed - plain).abs().max() / plain.abs().max().clamp(min=1e-6)).item()
    return None if difference <= _TOLERANCE else f"its packed logits differ by {difference:.2g} of the largest"
