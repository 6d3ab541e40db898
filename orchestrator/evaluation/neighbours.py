"""Whether a row's result depends on the rows that share its batch, and how rows are measured where it does.

A model may look at padding (FNet has no attention mask), at the longest row of a forward (dynamic and long RoPE), or
count the tokens of a batch. Users give an adapter one row at a time, so each row is measured as if it were alone.
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
"""How far results may be off for the rounding of 16 bits, as a share of the largest."""

logger = logging.getLogger(__name__)


class Together(enum.Enum):
    """Which rows one batch may hold."""

    ANY = "rows of any length, padded"
    OF_ONE_LENGTH = "rows of one length"
    NONE = "one row"


Results = Callable[[Sequence[Example]], "Sequence[torch.Tensor]"]
"""Returns tensors with one entry for each row: its loss and, of a classifier, its logits."""


def may_stand_together(
    results: Results, examples: Sequence[Example], *, limit: int | None = None, halves: bool = False
) -> Together:
    """Try three rows, and return which rows of a split one batch may hold so that none changes another's result.

    Args:
        results: computes rows as one batch.
        examples: encoded rows.
        limit: see ``unchanged_up_to``.
        halves: whether the model computes in 16 bits.
    """
    order = sorted(range(len(examples)), key=lambda row: sum(shape(examples[row])))
    if not order:
        return Together.ANY
    tried = [examples[order[at]] for at in sorted({0, len(order) // 2, len(order) - 1})]
    tolerance = _TOLERANCE_OF_HALVES if halves else _TOLERANCE
    within = limit is None or max(shape(tried[-1])) <= limit
    if within and _same([results([row]) for row in tried[:2]], results(tried), tolerance):
        return Together.ANY
    alike = _alike(examples)
    if alike and not _same([results([row]) for row in alike], results(alike), tolerance):
        return Together.NONE
    return Together.OF_ONE_LENGTH


@cache
def tell_once(model: str, together: Together) -> None:
    """Log, once in a process, how a model's rows are batched, if a batch may not hold rows of any length."""
    if together is not Together.ANY:
        logger.warning(
            "%s: a row's result depends on the rows beside it (padding, or the longest row); each batch that is "
            "measured holds %s, as if each row were alone",
            model,
            together.value,
        )


def _same(alone: "Sequence[Sequence[torch.Tensor]]", together: "Sequence[torch.Tensor]", tolerance: float) -> bool:
    for of_rows, of_batch in zip(zip(*alone, strict=True), together, strict=True):
        for row, found in enumerate(of_rows):
            own, beside = found[0].nan_to_num(), of_batch[row].nan_to_num()  # a trial that diverged is slow enough
            if (own - beside).abs().max() > tolerance * own.abs().max().clamp(min=1.0):
                return False
    return True


def _alike(examples: Sequence[Example]) -> list[Example]:
    """Return two rows of one shape, the longest that there are; none if all rows differ."""
    seen: dict[tuple[int, ...], Example] = {}
    for example in sorted(examples, key=shape, reverse=True):
        if shape(example) in seen:
            return [seen[shape(example)], example]
        seen[shape(example)] = example
    return []


def shape(example: Example) -> tuple[int, ...]:
    """Return the lengths of what a row holds: its tokens and, where it has one for each token or a target, labels."""
    return tuple(len(value) for value in example.values() if hasattr(value, "__len__") and not isinstance(value, str))


def unchanged_up_to(model: "torch.nn.Module") -> int | None:
    """Return the tokens beyond which a forward's longest row changes RoPE for all of its rows; None: it never does.

    Such modules (dynamic and long RoPE) keep what they found for the next forward.
    """
    limits = [
        limit
        for module in _following_longest_row(model)
        for limit in (*_original_positions(module.config.rope_parameters), module.original_max_seq_len)
    ]
    return min(limits, default=None)


def forget_longest_rows(model: "torch.nn.Module") -> None:
    """Have RoPE begin each forward as in a model that has just been loaded, so that none depends on those before."""
    for module in _following_longest_row(model):
        module.register_forward_pre_hook(_forget)


def _following_longest_row(model: "torch.nn.Module") -> "Iterator[Any]":
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


def _forget(module: "torch.nn.Module", _: object) -> None:
    for name in [name for name in (*module._buffers, *vars(module)) if name.endswith("original_inv_freq")]:
        prefix = name.removesuffix("original_inv_freq")
        module.register_buffer(f"{prefix}inv_freq", getattr(module, name).clone(), persistent=False)
        setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def keeps_state(model: "torch.nn.Module", work: Callable[[], object]) -> str | None:
    """Do a forward's work, and return the class of a module that it changed; None if the model keeps nothing.

    A module that keeps what one forward found is not computed by two threads at once.
    """
    before = _state(model)
    work()
    after = _state(model)
    changed = (key for key in {**before, **after} if not _unchanged(before.get(key), after.get(key)))
    names = sorted(type(model.get_submodule(name)).__name__ for name, _ in changed)
    return names[0] if names else None


def _state(model: "torch.nn.Module") -> dict[tuple[str, str], Any]:
    """Return buffers, and what else modules hold beside parameters and modules; tensors as copies."""
    import torch

    found: dict[tuple[str, str], Any] = {}
    for name, module in model.named_modules():
        for key, value in {**vars(module), **module._buffers}.items():
            if not key.startswith("_") and key != "training":
                found[name, key] = value.clone() if isinstance(value, torch.Tensor) else value
    return found


def _unchanged(before: object, after: object) -> bool:
    import torch

    if isinstance(before, torch.Tensor) and isinstance(after, torch.Tensor):
        return before.shape == after.shape and torch.equal(before, after)
    if isinstance(before, str | int | float | tuple | None) and isinstance(after, str | int | float | tuple | None):
        return bool(before == after)
    return before is after
