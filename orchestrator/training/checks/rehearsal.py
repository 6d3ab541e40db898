"""Call every hook of an objective on a few rows, before the first trial."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.errors import ObjectiveError, in_short
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import RULES
from orchestrator.objective.protocol import Head, Objective, Splits
from orchestrator.objective.windows import join_windows, rows_of

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase

FEW = 40
"""Number of rows per split, with several rows of each class, so that all metrics are defined."""
GENERATION_ROWS = 4
"""Number of rows with logits over a vocabulary; more rows would take much memory."""


def rehearse(objective: Objective, splits: Splits, plan: EnginePlan) -> str | None:
    """Call ``encode``, ``collate``, ``losses``, ``predictions``, ``measure`` and ``baseline``, with random logits.

    Returns:
        A remark for the user if the baseline cannot be fitted on these few rows, else None. The baseline may still
        work on all rows.

    Raises:
        ObjectiveError: a hook raises, or returns a wrong value.
    """
    tokenizer = load_tokenizer(plan.model)
    max_length = int(str(plan.largest.get("max_length", RULES["max_length"].default)))
    rows = _few(splits.train)
    examples: Any = objective.encode(rows, tokenizer, max_length)
    is_rows = isinstance(examples, Sequence) and all("input_ids" in one for one in examples)
    if not is_rows or len(rows_of(examples)) != len(rows):
        raise _wrong(objective, "encode", f"a list of {len(rows)} dicts with input_ids, one per row", examples)
    if not objective.head.classifies:
        examples = sorted(examples, key=lambda one: len(one["input_ids"]))[:GENERATION_ROWS]
    batch: Any = objective.collate(examples, tokenizer)
    is_batch = isinstance(batch, Mapping) and {"input_ids", "labels"} <= batch.keys()
    if not is_batch or len(getattr(batch["input_ids"], "shape", ())) != 2:
        raise _wrong(objective, "collate", "a dict of tensors, input_ids and labels among them", batch)
    logits = random_logits(objective, batch, tokenizer)
    for smoothing in (0.0, 0.1):
        losses: Any = objective.losses(logits, batch, smoothing)
        sums = losses if isinstance(losses, tuple | list) else (losses,)
        if [getattr(tensor, "shape", None) for tensor in sums] != [(len(examples),)] * 2:
            raise _wrong(objective, "losses", f"two tensors of {len(examples)} values, one per row", losses)
    pairs: Any = objective.predictions(logits.detach(), batch)
    if not isinstance(pairs, Sequence) or len(pairs) != len(examples):
        raise _wrong(objective, "predictions", f"a list of {len(examples)} pairs, one per row", pairs)
    measured = objective.measure(join_windows(objective, examples, pairs))
    _check_metrics(objective, measured)
    return _baseline(objective, splits)


def random_logits(
    objective: Objective, batch: "Mapping[str, torch.Tensor]", tokenizer: "PreTrainedTokenizerBase"
) -> "torch.Tensor":
    """Return random logits for a batch, with the shape of the model's logits; they require a gradient."""
    import torch

    count, tokens = batch["input_ids"].shape
    shape: tuple[int, ...] = (count, len(objective.labels))
    if objective.head.by_token:
        shape = (count, tokens, len(objective.labels))
    elif objective.head is not Head.SEQUENCE_CLASSIFICATION:
        shape = (count, tokens if objective.head is Head.CAUSAL_LM else batch["labels"].shape[1], len(tokenizer))
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def _check_metrics(objective: Objective, measured: object) -> None:
    if not isinstance(measured, Mapping):
        raise _wrong(objective, "measure", "a dict of metrics", measured)
    missing = [name for name in objective.metrics if name != "loss" and name not in measured]
    if missing:
        raise _wrong(
            objective, "measure", f"every metric that `metrics` lists, {', '.join(missing)} too", dict(measured)
        )


def _baseline(objective: Objective, splits: Splits) -> str | None:
    few = Splits(
        train=_few(splits.train),
        validation=_few(splits.validation),
        test=_few(splits.test),
        shift={name: _few(rows) for name, rows in splits.shift.items()},
    )
    try:
        objective.baseline(few)
    except Exception as error:  # noqa: BLE001  (any error: the sweep runs without a baseline)
        return f"on {len(few.train)} training rows the baseline cannot be fitted: {in_short(error)}"
    return None


def _few(rows: "datasets.Dataset") -> "datasets.Dataset":
    """Return a few rows of each label, or the first rows if the data has no labels."""
    places = list(range(min(FEW, len(rows))))
    if "label" in rows.column_names:
        seen: dict[Any, list[int]] = {}
        for row, label in enumerate(rows["label"][:]):
            seen.setdefault(str(label), []).append(row)
        per_label = max(2, FEW // max(1, len(seen)))
        places = sorted(row for with_label in seen.values() for row in with_label[:per_label])
    few: datasets.Dataset = rows.select(places)
    return few


def _wrong(objective: Objective, hook: str, wanted: str, got: object) -> ObjectiveError:
    shape = getattr(got, "shape", None)
    value = (
        f"{type(got).__name__} {' '.join(str(got).split())}" if shape is None else f"a tensor of shape {tuple(shape)}"
    )
    return ObjectiveError(f"objective {objective.name}: {hook} must return {wanted}, got {value[:80]}")
