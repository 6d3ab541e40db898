"""The parameter-efficient methods: which settings each takes, what its tensors are called, what it goes with.

A method is a setting of a trial like any other. Nothing here knows peft.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One method.

    Attributes:
        settings: those that it takes, of the settings that not every method takes.
        prefix: what the names of all its tensors hold, and no other parameter's.
        over_4_bits: whether it works on layers that are held in 4 bits.
    """

    settings: frozenset[str]
    prefix: str
    over_4_bits: bool


LORA = "lora"
"""The method that trials have if nobody says otherwise, and the only one that is packed."""

METHODS: Mapping[str, Method] = {
    LORA: Method(
        settings=frozenset({"rank", "alpha", "rslora", "dora", "dropout", "init", "lora_plus_ratio"}),
        prefix="lora_",
        over_4_bits=True,
    ),
    "ia3": Method(settings=frozenset(), prefix="ia3_", over_4_bits=True),
    "loha": Method(settings=frozenset({"rank", "alpha"}), prefix="hada_", over_4_bits=False),
    "lokr": Method(settings=frozenset({"rank", "alpha"}), prefix="lokr_", over_4_bits=False),
    "vera": Method(settings=frozenset({"rank", "dropout"}), prefix="vera_lambda_", over_4_bits=True),
}
"""By the name in a sweep file: arXiv 2106.09685, 2205.05638, 2108.06098, 2309.14859 and 2310.11454.

peft makes LoHa's and LoKr's matrices in the shape of the layer's stored weight, which codes of 4 bits do not have.
"""


def takers(setting: str) -> tuple[str, ...]:
    """Return the methods that take a setting; those that concern no adapter (a rate, a batch size) are taken by all."""
    found = tuple(name for name, method in METHODS.items() if setting in method.settings)
    return found or tuple(METHODS)
