"""Tests whether a row's result depends on other rows of its batch, and rules for batches if it does.

A model may attend to padding (FNet has no attention mask), depend on the longest row of a forward (dynamic and long
RoPE), or count the tokens of a batch. Adapters are used with one row at a time, so evaluation must give the result of
each row alone.
"""

import enum
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from orchestrator.objective.protocol import Example

if TYPE_CHECKING:
    import torch

_TOLERANCE = 1e-4
_TOLERANCE_OF_HALVES = 0.05
"""Relative tolerance for 16-bit formats."""

logger = logging.getLogger(__name__)


class BatchRule(enum.Enum):
    """The rows allowed in one batch."""

    ANY_LENGTH = "rows of any length, padded"
    EQUAL_LENGTH = "rows of equal length"
    SINGLE_ROW = "one row"


Results = Callable[[Sequence[Example]], "Sequence[torch.Tensor]"]
"""Returns tensors with one entry for each row: its loss and, for a classifier, its logits."""


def find_batch_rule(
    results: Results, examples: Sequence[Example], *, limit: int | None = None, halves: bool = False
) -> BatchRule:
    """Return the rule for batches without influence between rows, found by comparing three rows.

    Args:
        results: computes rows as one batch.
        examples: encoded rows of a split.
        limit: see ``rope_length_limit``.
        halves: whether the model computes in 16 bits.
    """
    order = sorted(range(len(examples)), key=lambda row: sum(shape(examples[row])))
    if not order:
        return BatchRule.ANY_LENGTH
    samples = [examples[order[at]] for at in sorted({0, len(order) // 2, len(order) - 1})]
    tolerance = _TOLERANCE_OF_HALVES if halves else _TOLERANCE
    within = limit is None or max(shape(samples[-1])) <= limit
    if within and _same([results([row]) for row in samples[:2]], results(samples), tolerance):
        return BatchRule.ANY_LENGTH
    pair = _pair_of_equal_shape(examples)
    if pair and not _same([results([row]) for row in pair], results(pair), tolerance):
        return BatchRule.SINGLE_ROW
    return BatchRule.EQUAL_LENGTH


@cache
def log_batch_rule(model: str, rule: BatchRule) -> None:
    """Log a restricted rule, once per process and model."""
    if rule is not BatchRule.ANY_LENGTH:
        logger.warning(
            "%s: a row's result depends on other rows of its batch (padding, or the longest row); evaluation uses "
            "batches of %s",
            model,
            rule.value,
        )


def _same(alone: "Sequence[Sequence[torch.Tensor]]", together: "Sequence[torch.Tensor]", tolerance: float) -> bool:
    for of_rows, of_batch in zip(zip(*alone, strict=True), together, strict=True):
        for row, found in enumerate(of_rows):
            own, beside = (
                found[0].nan_to_num(),
                of_batch[row].nan_to_num(),
            )  # NaN counts as equal: a diverged trial needs no smaller batches
            if (own - beside).abs().max() > tolerance * own.abs().max().clamp(min=1.0):
                return False
    return True


def _pair_of_equal_shape(examples: Sequence[Example]) -> list[Example]:
    """Return the two longest rows of equal shape; empty if all rows differ."""
    seen: dict[tuple[int, ...], Example] = {}
    for example in sorted(examples, key=shape, reverse=True):
        if shape(example) in seen:
            return [seen[shape(example)], example]
        seen[shape(example)] = example
    return []


def shape(example: Example) -> tuple[int, ...]:
    """Return the lengths of a row's sequences: tokens and, if present, labels."""
    return tuple(len(value) for value in example.values() if hasattr(value, "__len__") and not isinstance(value, str))


def rope_length_limit(model: "torch.nn.Module") -> int | None:
    """Return the length in tokens above which the longest row changes RoPE for all rows; None without such a module.

    Such modules (dynamic and long RoPE) keep the changed frequencies for later forwards.
    """
    limits = [
        limit
        for module in _length_dependent_rope(model)
        for limit in (*_original_positions(module.config.rope_parameters), module.original_max_seq_len)
    ]
    return min(limits, default=None)


def reset_rope_per_forward(model: "torch.nn.Module") -> None:
    """Reset dynamic RoPE before each forward, so that its result is independent of earlier forwards."""
    for module in _length_dependent_rope(model):
        module.register_forward_pre_hook(_reset_rope)


def _length_dependent_rope(model: "torch.nn.Module") -> "Iterator[Any]":
    for module in model.modules():
        kinds = getattr(module, "rope_type", None)
        kinds = [*kinds.values()] if isinstance(kinds, Mapping) else [kinds]
        if any(isinstance(kind, str) and (kind == "longrope" or "dynamic" in kind) for kind in kinds):
            yield module


def _original_positions(parameters: Mapping[str, Any]) -> Iterator[int]:
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _original_positions(value)
        elif name == "original_max_position_embeddings":
            yield value


def _reset_rope(module: "torch.nn.Module", _: object) -> None:
    for name in [name for name in (*module._buffers, *vars(module)) if name.endswith("original_inv_freq")]:
        prefix = name.removesuffix("original_inv_freq")
        module.register_buffer(f"{prefix}inv_freq", getattr(module, name).clone(), persistent=False)
        setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def find_stateful_module(model: "torch.nn.Module", work: Callable[[], object]) -> str | None:
    """Run ``work``, one forward, and return the class of a module changed by it; None without a change.

    A stateful module must not run in two threads at once.
    """
    before = _state(model)
    work()
    after = _state(model)
    changed = (key for key in {**before, **after} if not _unchanged(before.get(key), after.get(key)))
    names = sorted(type(model.get_submodule(name)).__name__ for name, _ in changed)
    return names[0] if names else None


def _state(model: "torch.nn.Module") -> dict[tuple[str, str], object]:
    """Return the buffers and public attributes of all modules, without parameters; tensors are copied."""
    import torch

    state: dict[tuple[str, str], object] = {}
    for name, module in model.named_modules():
        for key, value in {**vars(module), **module._buffers}.items():
            if not key.startswith("_") and key != "training":
                state[name, key] = value.clone() if isinstance(value, torch.Tensor) else value
    return state


def _unchanged(before: object, after: object) -> bool:
    import torch

    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        return before.shape == after.shape and torch.equal(before, after)
    if isinstance(before, str | int | float | tuple | None) and isinstance(after, str | int | float | tuple | None):
        return bool(before == after)
    return before is after
