"""Measure a model on encoded rows: the loss and the objective's metrics. Every engine measures through this.

It knows nothing of adapters, checkpoints or splits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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

    The model's training mode is restored.

    Args:
        model: a transformers model, or a PEFT model over one.
        objective: says how rows are collated, and what is measured.
        examples: encoded rows; empty gives no metrics.
        tokenizer: for collation.
        batch_tokens: padded tokens of a batch, at most (one row is always taken); None chooses by device.
    """
    device = next(model.parameters()).device
    budget = batch_tokens if batch_tokens is not None else BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    training = model.training
    model.eval()
    try:
        return measure_models(
            lambda batch: [forward(model, batch)], 1, objective, examples, tokenizer, device=device, budget=budget
        )[0]
    finally:
        model.train(training)


def measure_models(
    logits_of: "Callable[[Mapping[str, torch.Tensor]], Sequence[torch.Tensor]]",
    count: int,
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    device: "torch.device | str",
    budget: int,
) -> list[dict[str, float]]:
    """Return ``loss`` and the objective's other metrics over ``examples`` for each of several models.

    The loss is the sum over all rows divided by all units, whatever the batches: rows are sorted by length and batched
    by tokens, so that little padding is computed.

    Args:
        logits_of: returns each model's logits of a collated batch.
        count: how many models there are.
        objective: says how rows are collated, and what is measured.
        examples: encoded rows; empty gives no metrics.
        tokenizer: for collation.
        device: where batches go.
        budget: padded tokens of a batch, at most (one row is always taken).
    """
    import torch

    if not examples:
        return [{} for _ in range(count)]
    pairs: list[dict[int, tuple[Any, Any]]] = [{} for _ in range(count)]
    sums_M2 = torch.zeros(count, 2, dtype=torch.float64, device=device)
    with torch.inference_mode():
        for rows in batches([len(example["input_ids"]) for example in examples], budget):
            collated = objective.collate([examples[row] for row in rows], tokenizer)
            batch = {name: value.to(device) for name, value in collated.items()}
            for model, logits in enumerate(logits_of(batch)):
                for column, values_B in enumerate(objective.losses(logits, batch)):
                    sums_M2[model, column] += values_B.sum(dtype=torch.float64)
                pairs[model].update(zip(rows, objective.predictions(logits, batch), strict=True))
    losses = (sums_M2[:, 0] / sums_M2[:, 1].clamp(min=1.0)).tolist()
    return [
        {"loss": loss, **objective.measure([found[row] for row in range(len(examples))])}
        for loss, found in zip(losses, pairs, strict=True)
    ]


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
