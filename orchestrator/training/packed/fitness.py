"""Whether a model can be packed: not by its name, but by what comes out of it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from orchestrator.core.data import Source
from orchestrator.core.errors import LoratoryError
from orchestrator.core.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Example, Head, Objective
from orchestrator.training.base_model import load_base
from orchestrator.training.memory import free_memory, out_of_memory
from orchestrator.training.packed.layout import lay_out
from orchestrator.training.packed.pack import Pack
from orchestrator.training.packed.randomness import SlotRandom, draws_of
from orchestrator.training.rng import kept_random_state

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""By the number format in which a model is tried, how far its packed logits may be off, as a share of the largest."""

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
    float32; where they differ, or the pack fails, the model's code does something that a pack does not know. It knows
    nothing of dropout that is a function (StarCoder2): that draws from torch's own generator, for all slots together.

    Raises:
        LoratoryError: there is no memory for the model, in float32 and, tried after that, in bfloat16.
    """
    if tokenizer.padding_side == "left" and objective.head is Head.SEQUENCE_CLASSIFICATION:
        return "its classifier reads the last place of a row, so that padding stands on the left"
    tried = partial(_reason, source, objective, device, tokenizer, rows, quantisation)
    return in_what_fits(tried, device)


def in_what_fits(tried: Callable[[torch.dtype], str | None], device: str) -> str | None:
    """Return what ``tried`` does in float32, or in bfloat16 if there is no memory for that.

    Raises:
        LoratoryError: nor is there for bfloat16.
    """
    for dtype in _TOLERANCES:
        try:
            return tried(dtype)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            told = str(error)
        logger.warning("no memory to try the base in %s", dtype)
        free_memory(device)
    raise LoratoryError(f"there is no memory for the base alone: {told}")


def _reason(
    source: Source,
    objective: Objective,
    device: str,
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Example],
    quantisation: Quantisation | None,
    dtype: torch.dtype,
) -> str | None:
    rows = sorted(rows[:64], key=lambda row: len(row["input_ids"]))
    chosen = [rows[at * (len(rows) - 1) // 3] for at in range(4)]
    batch = {name: value.to(device) for name, value in objective.collate(chosen, tokenizer).items()}
    with kept_random_state(), torch.inference_mode():
        torch.manual_seed(0)
        base = load_base(source, objective, device, dtype=dtype, quantisation=quantisation)
        plain = forward(base.model.eval(), batch).float()
        del base  # there may be no memory for two
        torch.manual_seed(0)
        try:
            pack = Pack(source, objective, device, dtype, quantisation)
            pack.model.eval()
            layout = lay_out(batch["attention_mask"], {0: 2, 1: 2}, 2, dtype, device=device)
            packed = pack.logits(batch, layout).parts()
            return _difference(packed, plain, batch, dtype) or _draws(pack, batch)
        except Exception as error:  # every cause is let through in the answer: the solo engine trains what fails here
            if out_of_memory(error):
                raise
            logger.exception("the model cannot be packed")
            return f"{type(error).__name__}: {error}"


def _difference(
    packed: list[torch.Tensor], plain: torch.Tensor, batch: Mapping[str, torch.Tensor], dtype: torch.dtype
) -> str | None:
    """Return in what a pack's logits, of two slots, are not the model's own; None if they are."""
    if plain.dim() == 3:  # logits by token: what stands at padding is nobody's
        real = batch.get("decoder_attention_mask", batch["attention_mask"]).bool()
        plain, halves = plain[real], (real[:2], real[2:])
        packed = [part[half[:, : part.shape[1]]] for part, half in zip(packed, halves, strict=True)]
    found = torch.cat(packed).float()
    if found.shape != plain.shape:
        return f"its packed logits have the shape {tuple(found.shape)}, alone {tuple(plain.shape)}"
    difference = ((found - plain).abs().max() / plain.abs().max().clamp(min=1e-6)).item()
    return None if difference <= _TOLERANCES[dtype] else f"its packed logits differ by {difference:.2g} of the largest"


def _draws(pack: Pack, batch: Mapping[str, torch.Tensor]) -> str | None:
    """Return a reason if a forward in training draws from torch's own generators."""
    pack.model.train()
    draws = draws_of({slot: SlotRandom(slot, 0.0, pack.device) for slot in (0, 1)}, pack.device)
    before = _generators(pack.device)
    layout = lay_out(batch["attention_mask"], {0: 2, 1: 2}, 2, pack.dtype, draws, device=pack.device)
    pack.logits(batch, layout)
    rows = torch.ones(layout.num_rows, 8, device=pack.device)
    draws.rows(layout, rows, 0.5, 0, None).of(rows)  # as adapters will: a device compiles a kernel for it
    same = all(torch.equal(*pair) for pair in zip(before, _generators(pack.device), strict=True))
    return None if same else "in training its code draws random numbers that are not a slot's own"


def _generators(device: str) -> list[torch.Tensor]:
    on_device = [torch.cuda.get_rng_state(device)] if device.startswith("cuda") else []
    return [torch.get_rng_state(), *on_device]
