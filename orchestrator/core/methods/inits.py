"""The initial values of LoRA's A and B. Nothing here knows peft."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Init:
    """One way to start A and B.

    Attributes:
        subtracts: whether the product of the first A and B is subtracted from the base weights. The saved adapter has
            twice the rank, and the same outputs over the unchanged base weights.
        reads_rows: whether it computes with training rows; the solo engine trains such trials.
        trains_a_alone: whether B stays as it starts; the solo engine trains such trials.
        corrects_rounding: whether A and B start from the rounding error of a 4-bit base model; the solo engine trains
            such trials.
    """

    subtracts: bool = False
    reads_rows: bool = False
    trains_a_alone: bool = False
    corrects_rounding: bool = False


_PISSA = {name: Init(subtracts=True) for name in ("pissa", *(f"pissa_niter_{count}" for count in (2, 4, 8, 16)))}
INITS: Mapping[str, Init] = {
    "default": Init(),
    "gaussian": Init(),
    "orthogonal": Init(),
    **_PISSA,
    "olora": Init(subtracts=True),
    "eva": Init(reads_rows=True),
    "lora_ga": Init(subtracts=True, reads_rows=True),
    "corda": Init(subtracts=True, reads_rows=True),
    "mica": Init(trains_a_alone=True),
    "loftq": Init(corrects_rounding=True),
}
"""By peft's name; ``default`` is peft's True. PiSSA arXiv 2404.02948, OLoRA 2406.01775, EVA 2410.07170, LoRA-GA
2407.05000, CorDA 2406.05223, MiCA 2604.01694, LoftQ 2310.08659."""
WITH_QUANTISATION = ("default", "gaussian", "loftq")
"""The inits possible with quantised base models; the others read the weights."""
WITH_DORA = ("default", "gaussian", "orthogonal")
"""The inits possible with DoRA."""
