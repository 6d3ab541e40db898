"""Evaluation of a model on encoded rows: the loss and the objective's metrics. All engines use it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestrator.core.errors import UserError
from orchestrator.core.tasks.problem import Problem
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.metrics import class_of_prediction
from orchestrator.evaluation.row_independence import (
    BatchRule,
    find_batch_rule,
    find_stateful_module,
    log_batch_rule,
    rope_length_limit,
    shape,
)
from orchestrator.evaluation.values import metric_values
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import NOT_INPUTS, Example, FindsAnswers, FindsEntities, Objective, problem_of
from orchestrator.objective.windows import join_windows, row_keys, rows_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from orchestrator.evaluation.thread_group import ThreadGroup

NOTHING = Measurement(metrics={}, rows=RowMeasures(losses=(), units=()))
"""The measurement on no rows."""
_Pair: TypeAlias = tuple[Any, Any]
"""A prediction and its reference, in the form of the objective."""
_BatchOf: TypeAlias = "Callable[[list[int]], dict[str, torch.Tensor]]"
"""Returns a collated batch, see ``collated``."""
BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""Padded tokens of a batch by device type. Larger batches exceed a CPU's caches and are slower."""


def measure(
    model: "torch.nn.Module",
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    batch_tokens: int | None = None,
    detailed: bool = False,
) -> Measurement:
    """Return ``loss`` and the objective's other metrics over ``examples``, in eval mode and the model's own dtype.

    The model's training mode is restored afterwards.

    Args:
        model: a transformers model, or a PEFT model over one.
        objective: collates rows and computes losses and metrics.
        examples: encoded rows; no rows give no metrics.
        tokenizer: pads rows in collation.
        batch_tokens: maximum padded tokens of a batch of several rows; None chooses by device.
        detailed: whether the rows contain tokens, logits and entities.
    """
    if not examples:
        return NOTHING
    with _evaluating(model, objective, examples, tokenizer, batch_tokens) as (batch_of, parts, thread_group):
        [found] = measure_models(
            lambda batch: [forward(model, batch)],
            batch_of,
            [objective],
            examples,
            parts,
            thread_group,
            detailed=detailed,
        )
    if not detailed:
        return found
    tokens = tuple(sum(len(examples[place]["input_ids"]) for place in places) for places in rows_of(examples))
    return replace(found, rows=replace(found.rows, tokens=tokens))


def predictions(
    model: "torch.nn.Module",
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
) -> list[_Pair]:
    """Return the objective's ``predictions`` of each example, in order, in eval mode and the model's own dtype."""
    import torch

    found: dict[int, _Pair] = {}
    if examples:
        with _evaluating(model, objective, examples, tokenizer, None) as (batch_of, parts, thread_group):

            def predicted(rows: list[int]) -> list[_Pair]:
                batch = batch_of(rows)
                return objective.predictions(forward(model, batch), batch)

            with torch.inference_mode():
                for rows, pairs in zip(parts, thread_group.map(predicted, parts), strict=True):
                    found |= dict(zip(rows, pairs, strict=True))
    return [found[row] for row in range(len(examples))]


@contextmanager
def _evaluating(
    model: "torch.nn.Module",
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    batch_tokens: int | None,
) -> "Iterator[tuple[_BatchOf, list[list[int]], ThreadGroup]]":
    """Put the model into eval mode; yield the collation, the row numbers of each batch, and the threads."""
    import torch

    from orchestrator.evaluation.thread_group import ThreadGroup

    device = next(model.parameters()).device
    budget = batch_tokens if batch_tokens is not None else BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])

    def results(rows: Sequence[Example]) -> "list[torch.Tensor]":
        batch = {name: value.to(device) for name, value in objective.collate(rows, tokenizer).items()}
        logits = forward(model, batch)
        by_row = [logits.float()] if logits.dim() == 2 else []  # losses suffice for a language-modelling head
        return [objective.losses(logits, batch)[0].float(), *by_row]

    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            halves, limit = next(model.parameters()).dtype.itemsize == 2, rope_length_limit(model)
            rule = find_batch_rule(results, examples, limit=limit, halves=halves)
            log_batch_rule(str(getattr(model, "name_or_path", type(model).__name__)), rule)
            threads = torch.get_num_threads() if device.type == "cpu" else 1
            if limit is not None or (
                threads > 1 and find_stateful_module(model, lambda: results([max(examples, key=shape)]))
            ):
                threads = 1
        with closing(ThreadGroup(threads)) as thread_group:
            yield collated(objective, examples, tokenizer, device), make_batches(examples, budget, rule), thread_group
    finally:
        model.train(training)


def collated(
    objective: Objective,
    examples: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    device: "torch.device | str",
) -> _BatchOf:
    """Return a function from row numbers to their collated batch on a device."""

    def batch_of(rows: list[int]) -> "dict[str, torch.Tensor]":
        batch = objective.collate([examples[row] for row in rows], tokenizer)
        return {name: value.to(device) for name, value in batch.items()}

    return batch_of


def measure_models(
    logits_of: "Callable[[Mapping[str, torch.Tensor]], Sequence[torch.Tensor]]",
    batch_of: "Callable[[list[int]], Mapping[str, torch.Tensor]]",
    objectives: Sequence[Objective],
    examples: Sequence[Example],
    parts: Sequence[list[int]],
    thread_group: "ThreadGroup",
    *,
    detailed: bool = False,
) -> list[Measurement]:
    """Return ``loss`` and the objective's other metrics over the same rows for each of several models.

    The loss is the sum over all rows divided by the number of units, so it does not depend on the batches. The windows
    of a row are joined; see ``orchestrator.objective.windows``.

    Args:
        logits_of: returns the logits of each model for a collated batch; called in the threads of the group.
        batch_of: see ``collated``.
        objectives: computes losses and metrics, by model.
        examples: the encoded rows.
        parts: numbers of the examples of each batch, together all; no rows give an empty list.
        thread_group: threads, each evaluating one batch at a time.
        detailed: whether the measured rows contain logits and entities.

    Raises:
        ObjectiveError: ``objective.measure`` returned a value other than a number, or omitted a listed metric.
    """
    import torch

    def measured(rows: list[int]) -> list[tuple[torch.Tensor, list[_Pair], torch.Tensor]]:
        batch = batch_of(rows)
        return [
            (
                torch.stack([values_B.double() for values_B in objective.losses(logits, batch)]),
                objective.predictions(logits, batch),
                _class_logits(objective, logits) if detailed else torch.empty(len(rows), 0),
            )
            for logits, objective in zip(logits_of(batch), objectives, strict=True)
        ]

    with torch.inference_mode():
        results = thread_group.map(measured, parts)
    place = {row: position for position, row in enumerate(chain.from_iterable(parts))}
    order = [place[row] for row in range(len(place))]
    measurements = []
    for model, objective in zip(zip(*results, strict=True), objectives, strict=bool(results)):
        losses_2R = torch.cat([losses_2B for losses_2B, _, _ in model], dim=1).cpu()[:, order]
        pairs = [*chain.from_iterable(pairs for _, pairs, _ in model)]
        found = _measurement(objective, examples, losses_2R, [pairs[position] for position in order], detailed)
        logits_RC = torch.cat([logits_BC for _, _, logits_BC in model])[order].round(decimals=4)
        logits = tuple(tuple(row) for row in logits_RC.tolist()) if logits_RC.shape[1] else ()
        if found.rows.references:  # calibration, slices and suspected labels need a class per row
            found = replace(found, rows=replace(found.rows, logits=logits))
        measurements.append(found)
    return measurements


def _class_logits(objective: Objective, logits: "torch.Tensor") -> "torch.Tensor":
    """Return the logits of the objective's classes, B×C on the CPU; B×0 for other logits."""
    by_class = logits.dim() == 2 and logits.shape[1] == len(objective.labels)
    return logits.double().cpu() if by_class else logits.new_empty(len(logits), 0, device="cpu")


def _measurement(
    objective: Objective,
    examples: Sequence[Example],
    losses_2R: "torch.Tensor",
    pairs: "Sequence[_Pair]",
    detailed: bool,
) -> Measurement:
    """Return the measurement of one model from the summed loss, the units and the prediction of each example."""
    import torch

    total, units = losses_2R.sum(1).tolist()
    pairs, rows_of_examples = join_windows(objective, examples, pairs), rows_of(examples)
    if len(rows_of_examples) < len(examples):
        losses_2R = torch.stack([losses_2R[:, row.start : row.stop].sum(1) for row in rows_of_examples], dim=1)
    returned = objective.measure(pairs)
    metrics = metric_values(returned, objective.name, wanted=[*filter("loss".__ne__, objective.metrics)])
    losses_R, units_R = losses_2R.tolist()
    predictions, references = _class_ids(objective, pairs)
    row_scores: Callable[[Sequence[_Pair]], Mapping[str, Sequence[float]]] | None
    row_scores = getattr(objective, "row_scores", None)
    scores = {} if row_scores is None else {name: tuple(values) for name, values in row_scores(pairs).items()}
    rows = RowMeasures(
        losses=tuple(losses_R),
        units=tuple(units_R),
        predictions=predictions,
        references=references,
        scores=scores,
        keys=row_keys(examples),
        answers=tuple(objective.row_answers(pairs)) if isinstance(objective, FindsAnswers) else (),
    )
    if detailed and isinstance(objective, FindsEntities):
        marked = [
            objective.row_spans([examples[place] for place in places], pair)
            for places, pair in zip(rows_of_examples, pairs, strict=True)
        ]
        spans, true_spans = (tuple(tuple(row[side]) for row in marked) for side in (0, 1))
        rows = replace(rows, spans=spans, true_spans=true_spans)
    return Measurement(metrics={"loss": total / max(units, 1.0), **metrics}, rows=_with_vectors(objective, pairs, rows))


def _with_vectors(objective: Objective, pairs: "Sequence[_Pair]", rows: RowMeasures) -> RowMeasures:
    """Return the rows with their sets of classes or their numbers; unchanged for other tasks, or pairs of other forms.

    A class is predicted if its logit is above 0: its probability is above one half.
    """
    problem, size = problem_of(objective), len(objective.labels)
    if problem not in {Problem.MULTI_LABEL, Problem.REGRESSION}:
        return rows
    if not all(_is_logits(given, size) and _is_logits(true, size) for given, true in pairs):
        return rows
    if problem is Problem.REGRESSION:
        numbers, true_numbers = (tuple(tuple(map(float, pair[side])) for pair in pairs) for side in (0, 1))
        return replace(rows, numbers=numbers, true_numbers=true_numbers)
    found, true = (
        tuple(tuple(place for place, value in enumerate(pair[side]) if value > bound) for pair in pairs)
        for side, bound in ((0, 0.0), (1, 0.5))
    )
    return replace(rows, class_sets=found, true_class_sets=true)


def _class_ids(objective: Objective, pairs: "Sequence[_Pair]") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return predictions and references; both empty unless all are ids of the objective's classes.

    A prediction may also be the logits by class.
    """
    classes = len(objective.labels)

    def is_class(value: object) -> bool:
        return isinstance(value, int) and 0 <= value < classes

    if not all(is_class(true) and (is_class(given) or _is_logits(given, classes)) for given, true in pairs):
        return (), ()
    return tuple(int(class_of_prediction(given)) for given, _ in pairs), tuple(int(true) for _, true in pairs)


def _is_logits(value: object, classes: int) -> bool:
    return isinstance(value, list) and len(value) == classes


def forward(model: "torch.nn.Module", batch: "Mapping[str, torch.Tensor]") -> "torch.Tensor":
    """Return the logits of a collated batch; see ``inputs``. Those of question answering are B×T×2: start and end."""
    output = model(**inputs(model, batch))
    if hasattr(output, "start_logits"):
        import torch

        return torch.stack([output.start_logits, output.end_logits], dim=-1)
    logits: torch.Tensor = output.logits
    prompt = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    if prompt and logits.dim() == 3:  # the virtual tokens come first
        return logits[:, -batch["input_ids"].shape[1] :]
    return logits


def inputs(model: "torch.nn.Module", batch: "Mapping[str, torch.Tensor]") -> "dict[str, Any]":
    """Return the model's inputs: the batch without values for the loss, because objectives compute it.

    A decoder gets the labels shifted right by one token, after its start token.
    """
    given: dict[str, Any] = {name: value for name, value in batch.items() if name not in NOT_INPUTS}
    if "decoder_attention_mask" in batch:
        given["decoder_input_ids"] = decoder_inputs(model, batch["labels"])
        given["use_cache"] = False  # with a cache, FSMT's decoder has no causal mask
    return given


def decoder_inputs(model: "torch.nn.Module", labels_BS: "torch.Tensor") -> "torch.Tensor":
    """Return the labels shifted right by one token, as in the model's own forward.

    Most model families have a method for it. Others (M2M100, Blenderbot) have a private function, which puts
    ``decoder_start_token_id`` first.

    Raises:
        UserError: the model has no decoder, or its configuration has no start token.
    """
    own = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    if own is not None:
        shifted_BS: torch.Tensor = own(labels_BS.clone())  # FSMT's method changes its argument
        return shifted_BS
    config: Any = model.config
    generation = getattr(model, "generation_config", None)
    if not config.is_encoder_decoder:
        raise UserError(f"model: {config.model_type} is not an encoder-decoder model; use a causal objective")
    names = [(config, "decoder_start_token_id"), (generation, "decoder_start_token_id"), (config, "bos_token_id")]
    start = next((token for source, name in names if (token := getattr(source, name, None)) is not None), None)
    if start is None:
        raise UserError("config.json: decoder_start_token_id is missing; the decoder's input begins with it")
    padding = getattr(config, "pad_token_id", None)
    padding = start if padding is None else padding
    late_BS = labels_BS.roll(1, dims=1)
    late_BS[:, 0] = start
    return late_BS.masked_fill(late_BS == IGNORED, padding)


def make_batches(
    examples: Sequence[Example], batch_tokens: int, rule: BatchRule = BatchRule.ANY_LENGTH
) -> list[list[int]]:
    """Return the row numbers of each batch. Rows are sorted by length, to save padding, and limited by tokens."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for row, example in enumerate(examples):
        groups.setdefault(() if rule is BatchRule.ANY_LENGTH else shape(example), []).append(row)
    row_batches = []
    for _, rows in sorted(groups.items(), key=lambda group: group[0]):
        lengths = [len(examples[row]["input_ids"]) for row in rows]
        budget = 1 if rule is BatchRule.SINGLE_ROW else batch_tokens
        row_batches += [[rows[at] for at in batch] for batch in batches(lengths, budget)]
    return row_batches


def batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Yield batches of row numbers, the shortest first, of at most ``batch_tokens`` padded tokens or one row."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
