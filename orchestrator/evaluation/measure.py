"""Measure a model on encoded rows: the loss and the objective's metrics. Every engine measures through this.

It knows nothing of adapters, checkpoints or splits.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.objective.protocol import Example, Objective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""Padded tokens of a batch by device type; larger ones are slower on a CPU, where they leave its caches."""


def measure(
    model: "torch.nn.Module",
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    batch_tokens: int | None = None,
) -> dict[str, float]:
    """Return ``loss`` and the objective's other metrics over ``examples``, in eval mode and in the model's own dtype.

    The loss is the sum over all rows divided by all units, whatever the batches: rows are sorted by length and batched
    by tokens, so that little padding is computed. The model's training mode is restored.

    Args:
        model: a transformers model, or a PEFT model over one.
        objective: says how rows are collated, and what is measured.
        examples: encoded rows; empty gives no metrics.
        tokenizer: for collation.
        batch_tokens: padded tokens of a batch, at most (one row is always taken); None chooses by device.
    """
    import torch

    if not examples:
        return {}
    device = next(model.parameters()).device
    budget = batch_tokens if batch_tokens is not None else BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    pairs: dict[int, tuple[Any, Any]] = {}
    loss = torch.zeros((), dtype=torch.float64, device=device)
    units = torch.zeros((), dtype=torch.float64, device=device)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for rows in batches([len(example["input_ids"]) for example in examples], budget):
                batch = {
                    name: value.to(device)
                    for name, value in objective.collate([examples[row] for row in rows], tokenizer).items()
                }
                logits = forward(model, batch)
                loss_sum_B, units_B = objective.losses(logits, batch)
                loss += loss_sum_B.sum(dtype=torch.float64)
                units += units_B.sum(dtype=torch.float64)
                pairs |= zip(rows, objective.predictions(logits, batch), strict=True)
    finally:
        model.train(training)
    in_order = [pairs[row] for row in range(len(examples))]
    return {"loss": (loss / units.clamp(min=1.0)).item(), **objective.measure(in_order)}


def forward(model: "torch.nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
    """Return the logits of a collated batch; the labels stay out, because objectives compute the loss."""
    logits: torch.Tensor = model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    return logits


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield the rows, the shortest first, in batches of at most ``batch_tokens`` padded tokens and at least one row."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
