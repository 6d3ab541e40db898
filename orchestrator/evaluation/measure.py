"""Measure a model on encoded rows: the loss and the objective's metrics. Every engine measures through this.

It knows nothing of adapters, checkpoints or splits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Any

from orchestrator.core.errors import UserError
from orchestrator.evaluation.neighbours import (
    Together,
    keeps_state,
    may_stand_together,
    shape,
    tell_once,
    unchanged_up_to,
)
from orchestrator.evaluation.values import metric_values
from orchestrator.objective.padding import IGNORED
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

    if not examples:
        return {}
    device = next(model.parameters()).device
    budget = batch_tokens if batch_tokens is not None else BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])

    def results(rows: Sequence[Example]) -> "list[torch.Tensor]":
        batch = {name: value.to(device) for name, value in objective.collate(rows, tokenizer).items()}
        found = forward(model, batch)
        by_row = [found.float()] if found.dim() == 2 else []  # of a head that writes, losses say enough
        return [objective.losses(found, batch)[0].float(), *by_row]

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            halves, limit = next(model.parameters()).dtype.itemsize == 2, unchanged_up_to(model)
            together = may_stand_together(results, examples, limit=limit, halves=halves)
            tell_once(str(getattr(model, "name_or_path", type(model).__name__)), together)
            threads = torch.get_num_threads() if device.type == "cpu" else 1
            if limit is not None or (threads > 1 and keeps_state(model, lambda: results([max(examples, key=shape)]))):
                threads = 1
        with closing(Crew(threads)) as crew:
            parts = portions(examples, budget, together)
            found = measure_models(
                lambda batch: [forward(model, batch)], objective, examples, tokenizer, parts, crew, device
            )
        return found[0]
    finally:
        model.train(training)


def measure_models(
    logits_of: "Callable[[Mapping[str, torch.Tensor]], Sequence[torch.Tensor]]",
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    parts: Sequence[list[int]],
    crew: "Crew",
    device: "torch.device | str",
) -> list[dict[str, float]]:
    """Return ``loss`` and the objective's other metrics over ``examples`` for each of several models.

    The loss is the sum over all rows divided by all units, whatever the batches.

    Args:
        logits_of: returns each model's logits of a collated batch; it is called in the threads of the crew.
        objective: says how rows are collated, and what is measured.
        examples: encoded rows; empty gives no models.
        tokenizer: for collation.
        parts: the rows of each batch.
        crew: its threads take a batch each.
        device: where batches go.

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


def inputs(model: "torch.nn.Module", batch: "Mapping[str, torch.Tensor]") -> "dict[str, Any]":
    """Return what a model is given: all but the labels, because objectives compute the loss.

    A decoder reads the labels one token late, after the token that the model's own configuration begins with.
    """
    given: dict[str, Any] = {name: value for name, value in batch.items() if name != "labels"}
    if "decoder_attention_mask" in batch:
        given["decoder_input_ids"] = decoder_inputs(model, batch["labels"])
        given["use_cache"] = False  # FSMT's decoder sees what comes after a token where it is given a cache
    return given


def decoder_inputs(model: "torch.nn.Module", labels_BS: "torch.Tensor") -> "torch.Tensor":
    """Return the labels one token late, as the model's own forward makes them of its labels.

    Most families have a method for it. Some (M2M100, Blenderbot) have only the function that their forward calls; it
    and that of most others put ``decoder_start_token_id`` first.
    """
    own = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if own is not None:
        shifted_BS: torch.Tensor = own(labels_BS.clone())  # FSMT's writes into what it is given
        return shifted_BS
    config: Any = model.config
    generation = getattr(model, "generation_config", None)
    if not config.is_encoder_decoder:
        raise UserError(f"model: {config.model_type} has no decoder beside an encoder; a causal objective suits it")
    names = [(config, "decoder_start_token_id"), (generation, "decoder_start_token_id"), (config, "bos_token_id")]
    start = next((token for source, name in names if (token := getattr(source, name, None)) is not None), None)
    if start is None:
        raise UserError("config.json: decoder_start_token_id is needed, because the decoder's input begins with it")
    padding = getattr(config, "pad_token_id", None)
    padding = start if padding is None else padding
    late_BS = labels_BS.roll(1, dims=1)
    late_BS[:, 0] = start
    return late_BS.masked_fill(late_BS == IGNORED, padding)


def portions(examples: Sequence[Example], batch_tokens: int, together: Together = Together.ANY) -> list[list[int]]:
    """Return the rows of each batch: sorted by length, so that little padding is computed, and cut by tokens."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, example in enumerate(examples):
        groups.setdefault(() if together is Together.ANY else shape(example), []).append(row)
    found = []
    for _, rows in sorted(groups.items(), key=lambda group: group[0]):
        lengths = [len(examples[row]["input_ids"]) for row in rows]
        budget = 1 if together is Together.NONE else batch_tokens
        found += [[rows[at] for at in batch] for batch in batches(lengths, budget)]
    return found


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
