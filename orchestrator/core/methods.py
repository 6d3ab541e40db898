"""The parameter-efficient methods: their settings, the names of their tensors, their limits.

The method is a setting of a trial like any other. Nothing here knows peft.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """One method.

    Attributes:
        settings: the settings used by this method but not by all methods.
        prefix: text found in the names of all its tensors, and in no other parameter's name.
        over_4_bits: whether it works on 4-bit layers.
    """

    settings: frozenset[str]
    prefix: str
    over_4_bits: bool


LORA = "lora"
"""The default method, and the only one for packs."""

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

peft gives the matrices of LoHa and LoKr the shape of the stored weight; 4-bit codes have another shape.
"""


def takers(setting: str) -> tuple[str, ...]:
    """Return the methods with a setting. Settings outside the adapter (a rate, a batch size) belong to all methods."""
    methods = tuple(name for name, method in METHODS.items() if setting in method.settings)
    return methods or tuple(METHODS)
