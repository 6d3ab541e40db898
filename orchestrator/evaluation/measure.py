"""Measure a model on encoded rows: the loss and the objective's metrics. Every engine measures through this.

It knows nothing of adapters, checkpoints or splits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

from orchestrator.evaluation.values import metric_values
from orchestrator.objective.protocol import Example, Objective

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from orchestrator.evaluation.crew import Crew

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
    import torch

    from orchestrator.evaluation.crew import Crew

    device = next(model.parameters()).device
    budget = batch_tokens if batch_tokens is not None else BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])
    training = model.training
    model.eval()
    try:
        with closing(Crew(torch.get_num_threads() if device.type == "cpu" else 1)) as crew:
            found = measure_models(
                lambda batch: [forward(model, batch)],
                objective,
                examples,
                tokenizer,
                device=device,
                budget=budget,
                crew=crew,
            )
        return found[0] if found else {}
    finally:
        model.train(training)


def measure_models(
    logits_of: "Callable[[Mapping[str, torch.Tensor]], Sequence[torch.Tensor]]",
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    device: "torch.device | str",
    budget: int,
    crew: "Crew",
) -> list[dict[str, float]]:
    """Return ``loss`` and the objective's other metrics over ``examples`` for each of several models.

    The loss is the sum over all rows divided by all units, whatever the batches: rows are sorted by length and batched
    by tokens, so that little padding is computed.

    Args:
        logits_of: returns each model's logits of a collated batch; it is called in the threads of the crew.
        objective: says how rows are collated, and what is measured.
        examples: encoded rows; empty gives no models.
        tokenizer: for collation.
        device: where batches go.
        budget: padded tokens of a batch, at most (one row is always taken).
        crew: its threads take a batch each.

    Raises:
        ObjectiveError: ``objective.measure`` returns something that is no number, or lacks a metric that it lists.
    """
    import torch

    def measured(rows: list[int]) -> list[tuple[torch.Tensor, list[tuple[Any, Any]]]]:
        collated = objective.collate([examples[row] for row in rows], tokenizer)
        batch = {name: value.to(device) for name, value in collated.items()}
        return [
            (
                torch.stack([values_B.sum(dtype=torch.float64) for values_B in objective.losses(logits, batch)]),
                objective.predictions(logits, batch),
            )
            for logits in logits_of(batch)
        ]

    parts = [*batches([len(example["input_ids"]) for example in examples], budget)]
    with torch.inference_mode():
        found = crew.each(measured, parts)
    measures = []
    for model in zip(*found, strict=True):
        total, units = torch.stack([sums_2 for sums_2, _ in model]).sum(0).tolist()
        pairs = dict(zip(chain.from_iterable(parts), chain.from_iterable(pairs for _, pairs in model), strict=True))
        returned = objective.measure([pairs[row] for row in range(len(examples))])
        metrics = metric_values(returned, objective.name, wanted=[*filter("loss".__ne__, objective.metrics)])
        measures.append({"loss": total / max(units, 1.0), **metrics})
    return measures


def forward(model: "torch.nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
    """Return the logits of a collated batch; see ``inputs``."""
    logits: torch.Tensor = model(**inputs(model, batch)).logits
    return logits


def inputs(model: "torch.nn.Module", batch: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Return what a model is given: all but the labels, because objectives compute the loss.

    A decoder reads the labels one token late, after the token that the model's own configuration begins with.
    """
    given = {name: value for name, value in batch.items() if name != "labels"}
    if "decoder_attention_mask" in batch:
        given["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(batch["labels"])  # type: ignore[operator]
    return given


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
