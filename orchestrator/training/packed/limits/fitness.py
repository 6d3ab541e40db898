"""Decide whether a model can be packed, from its code, its configuration and a trial run, not from its name.

Differences invisible in a trial run are found in the code (see ``risks``). The trial run has rows of the maximum length
and attention scores of realistic size.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from orchestrator.assets.models import load_pretrained
from orchestrator.core.data import Source
from orchestrator.core.errors import LoratoryError
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.evaluation.row_independence import find_stateful_module
from orchestrator.objective.protocol import Example, Objective
from orchestrator.objective.sequences import separate
from orchestrator.training.model.base_model import load_base
from orchestrator.training.model.trial_weights import scale_up_weights
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.layers.attention import checking_masks
from orchestrator.training.packed.layout.blocks import batch_layout
from orchestrator.training.packed.limits.risks import risk
from orchestrator.training.packed.masks.create import create_masks
from orchestrator.training.packed.masks.streams import DropoutStream
from orchestrator.training.process.memory import free_memory, out_of_memory
from orchestrator.training.process.random_state import kept_random_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ROWS = {0: 3, 1: 1}
"""Number of rows by slot: short rows with padding, and the longest row alone."""
_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""Maximum difference of the packed logits, relative to the largest logit, by the number format of the trial run."""

logger = logging.getLogger(__name__)


def reason_not_to_pack(
    source: Source,
    objective: Objective,
    device: str,
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Example],
    quantisation: Quantisation | None = None,
    max_length: int = 0,
) -> str | None:
    """Return why a model cannot be packed, or None if it can.

    The logits of a few rows, the longest with ``max_length`` tokens, are computed by the plain model, one row at a
    time, and by a pack of two slots, both in float32. The model is refused if they differ, if the pack fails, if a
    module keeps state between forwards, or if dropout draws from torch's generator (functional dropout, as in
    StarCoder2).

    Raises:
        LoratoryError: memory does not suffice for the model, neither in float32 nor in bfloat16.
    """
    if tokenizer.padding_side == "left" and objective.head.classifies:
        return "its classifier reads the last position of a row, so padding is on the left"
    chosen = _chosen(rows, min(max_length, _positions(source) or max_length))
    attempt = partial(_reason, source, objective, device, tokenizer, chosen, quantisation)
    return try_formats(attempt, device)


def _positions(source: Source) -> int | None:
    """Return a safe maximum length of a row; positions of some models start at 2."""
    from transformers import AutoConfig

    config = load_pretrained(AutoConfig, source).get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    return positions - 2 if isinstance(positions, int) and positions > 2 else None


def _chosen(rows: Sequence[Example], length: int) -> list[Example]:
    """Return four sequences of rows from short to long; the last is extended to ``length`` tokens."""
    sequences = [sequence for row in rows[:64] for sequence in separate(row)]
    rows = sorted(sequences, key=lambda row: len(row["input_ids"]))
    chosen = [rows[at * (len(rows) - 1) // 3] for at in range(4)]
    return [*chosen[:3], _stretched(chosen[3], length)]


def _stretched(row: Example, length: int) -> Example:
    """Return a row extended to ``length`` tokens by repeating its middle, with its labels per token."""
    count = len(row["input_ids"])
    if count >= length or count < 3:
        return row
    places = [0, *(1 + at % (count - 2) for at in range(length - 2)), count - 1]
    longer = {
        name: [value[at] for at in places]
        for name, value in row.items()
        if isinstance(value, list) and len(value) == count
    }
    return {**row, **longer}


def try_formats(attempt: Callable[[torch.dtype], str | None], device: str) -> str | None:
    """Return the result of ``attempt`` in float32, or in bfloat16 if memory does not suffice.

    Raises:
        LoratoryError: memory does not suffice for bfloat16 either.
    """
    for dtype in _TOLERANCES:
        try:
            return attempt(dtype)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            message = str(error)
        logger.warning("no memory to try the base model in %s", dtype)
        free_memory(device)
    raise LoratoryError(f"no memory for only the base model: {message}")


def _reason(
    source: Source,
    objective: Objective,
    device: str,
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Example],
    quantisation: Quantisation | None,
    dtype: torch.dtype,
) -> str | None:
    def collated(some: Sequence[Example]) -> dict[str, torch.Tensor]:
        return {name: value.to(device) for name, value in objective.collate(some, tokenizer).items()}

    batch = collated(rows)
    with kept_random_state(), torch.inference_mode():
        torch.manual_seed(0)
        base = load_base(source, objective, device, dtype=dtype, quantisation=quantisation).model
        alone = _alone(base, [collated([row]) for row in rows])
        if isinstance(alone, str):
            return alone
        del base  # memory may not suffice for two
        torch.manual_seed(0)
        try:
            pack = Pack(source, objective, device, dtype, quantisation)
            scale_up_weights(pack.model.eval())
            layout = batch_layout(batch["attention_mask"], _ROWS, 2, dtype, device=device)
            with checking_masks():
                packed = pack.logits(batch, layout).by_slot()
            return _difference(packed, alone, dtype) or _draws(pack, batch)
        except CannotPackError as error:
            return str(error)
        except Exception as error:  # any error is a reason not to pack
            if out_of_memory(error):
                raise
            logger.exception("the model cannot be packed")
            return f"{type(error).__name__}: {error}"


def _alone(model: "PreTrainedModel", rows: Sequence[Mapping[str, torch.Tensor]]) -> list[torch.Tensor] | str:
    """Return the logits of each row alone, or a reason not to pack the model whatever its logits."""
    scale_up_weights(model.eval())
    reason = risk(model)
    if reason is not None:
        return reason
    alone = [forward(model, row)[0].float() for row in rows]
    changed = find_stateful_module(model.train(), lambda: forward(model, rows[-1]))
    return alone if changed is None else f"{changed} keeps state from one forward to the next"


def _difference(packed: Sequence[torch.Tensor], alone: Sequence[torch.Tensor], dtype: torch.dtype) -> str | None:
    """Return the difference between a pack's logits and the logits of each row alone, in words; None if equal."""
    rows = [row.float() for part in packed for row in part]
    largest = max(row.abs().max().item() for row in alone)
    difference = 0.0
    for row, own in zip(rows, alone, strict=True):
        real = row[: own.shape[0]] if own.dim() > 1 else row  # without padding
        if real.shape != own.shape:
            return f"its packed logits have the shape {tuple(real.shape)}, alone {tuple(own.shape)}"
        difference = max(difference, (real - own).abs().max().item())
    relative = difference / max(largest, 1e-6)
    return None if relative <= _TOLERANCES[dtype] else f"its packed logits differ by {relative:.2g} of the largest"


def _draws(pack: Pack, batch: Mapping[str, torch.Tensor]) -> str | None:
    """Return a reason not to pack if a forward in training draws from torch's generators."""
    pack.model.train()
    masks = create_masks({slot: DropoutStream(slot, 0.0, pack.device) for slot in (0, 1)}, pack.device)
    before = _generators(pack.device)
    layout = batch_layout(batch["attention_mask"], _ROWS, 2, pack.dtype, device=pack.device)
    pack.logits(batch, layout, masks)
    rows = torch.ones(layout.num_rows, 8, device=pack.device)
    masks.vector_mask(layout, rows, 0.5, 0, None).apply(rows)  # as adapters will: a device compiles a kernel for it
    same = all(torch.equal(*pair) for pair in zip(before, _generators(pack.device), strict=True))
    return None if same else "in training its code draws random numbers outside of the slots' generators"


def _generators(device: str) -> list[torch.Tensor]:
    on_device = [torch.cuda.get_rng_state(device)] if device.startswith("cuda") else []
    return [torch.get_rng_state(), *on_device]
