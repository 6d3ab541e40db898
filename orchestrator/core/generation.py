"""How the answers of a generative task are written and measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationPlan:
    """The generation of a sweep.

    Attributes:
        max_new_tokens: most tokens of an answer, its end token included.
    """

    max_new_tokens: int

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``."""
        return cls(**stored)
