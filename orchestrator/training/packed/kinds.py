"""Which kinds of trials can be packed, found out before the first one trains. It knows nothing of models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from orchestrator.core.space import ParamValue
from orchestrator.training.engine import Capacity

Kind: TypeAlias = Mapping[str, ParamValue]
"""The settings that decide whether a trial can be packed."""


def capacity_for(
    kinds: Sequence[Kind], reason_not_to_pack: Callable[[Kind], str | None], sized: Callable[[Kind], Capacity]
) -> Capacity:
    """Return how many trials to train at once, and which of them train by themselves.

    Args:
        kinds: those that may come; none: all trials are of one.
        reason_not_to_pack: tries a kind, and says in words why it cannot be packed; None: it can.
        sized: returns how many of a kind that can be packed train at once.
    """
    reasons = [(kind, reason_not_to_pack(kind)) for kind in kinds or ({},)]
    packing = [kind for kind, reason in reasons if reason is None]
    if not packing:
        return Capacity(slots=1, why=reasons[0][1] or "", packs=False)
    alone = tuple(f"trials with {told(kind)}, because {reason}" for kind, reason in reasons if reason)
    return replace(sized(packing[0]), alone=alone)


def told(kind: Kind) -> str:
    """Return a kind in words."""
    return " and ".join(f"{name} {str(value).lower()}" for name, value in kind.items()) or "these settings"
