"""Quantisation of the frozen weights: its name in the sweep file, and the arguments for transformers. No torch."""

import enum
from collections.abc import Mapping
from typing import Any

from orchestrator.core.errors import UserError
from orchestrator.core.system.environment import not_installed

_PACKAGE = "bitsandbytes"
_OUTSIDE_THE_LAYERS = r"(?!.*\.\d+\.).*"
"""Matches names without a number between dots: heads, poolers and embeddings, not the numbered layers."""


class Quantisation(enum.StrEnum):
    """Number format of the frozen linear layers.

    NF4 and FP4: a 4-bit code for each weight, a scale for each 64 (QLoRA, arXiv 2305.14314). The scales have 8 bits
    (double quantisation), or 32 bits in the formats named ``_single``. INT8: an 8-bit code for each weight, a scale for
    each output (LLM.int8, arXiv 2208.07339); the products are computed with decoded weights.
    """

    NF4 = "nf4"
    FP4 = "fp4"
    NF4_SINGLE = "nf4_single"
    FP4_SINGLE = "fp4_single"
    INT8 = "int8"

    @property
    def bits(self) -> int:
        """Bits of a weight's code, without its part of a scale."""
        return 8 if self is Quantisation.INT8 else 4

    @property
    def is_double(self) -> bool:
        """Whether the scales are quantised too."""
        return self in {Quantisation.NF4, Quantisation.FP4}

    @property
    def words(self) -> str:
        """The format in words, for people."""
        if self is Quantisation.INT8:
            return "8 bits (int8)"
        code = self.value.partition("_")[0].upper()
        return f"4 bits ({code}, {'double quantisation' if self.is_double else 'scales in 32 bits'})"


def loading_arguments(quantisation: Quantisation) -> dict[str, Any]:
    """Return the arguments of transformers' ``BitsAndBytesConfig``, as plain JSON.

    Modules outside the numbered layers keep their format: heads and poolers are trained in full, and bitsandbytes fails
    on layers as narrow as a head.
    """
    skipped = {"llm_int8_skip_modules": [_OUTSIDE_THE_LAYERS]}
    if quantisation is Quantisation.INT8:
        return {"load_in_8bit": True, **skipped}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": quantisation.value.partition("_")[0],
        "bnb_4bit_use_double_quant": quantisation.is_double,
        "bnb_4bit_compute_dtype": "float32",
        **skipped,
    }


def format_of(arguments: Mapping[str, Any]) -> Quantisation:
    """Return the format of stored ``loading_arguments``."""
    if arguments.get("load_in_8bit"):
        return Quantisation.INT8
    code = str(arguments["bnb_4bit_quant_type"])
    return Quantisation(code if arguments["bnb_4bit_use_double_quant"] else f"{code}_single")


def missing_package(quantisation: Quantisation) -> str | None:
    """Return a message with the install command if the needed package is missing, else None; nothing is imported."""
    return not_installed(_PACKAGE, quantisation)


def require_package(quantisation: Quantisation) -> None:
    """Raise ``UserError`` if the needed package is not installed."""
    missing = missing_package(quantisation)
    if missing:
        raise UserError(f"quantisation: {missing}")
