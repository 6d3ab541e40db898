"""In how many bits the frozen base is held: its name in the sweep file, and what transformers is told. No torch."""

import enum
from typing import Any

from orchestrator.core.environment import not_installed
from orchestrator.core.errors import UserError

_PACKAGE = "bitsandbytes"
_OUTSIDE_THE_LAYERS = r"(?!.*\.\d+\.).*"
"""Names without a number between dots: all but the numbered layers, hence heads, poolers and embeddings."""


class Quantisation(enum.StrEnum):
    """Number format in which the linear layers of the frozen base are held."""

    NF4 = "nf4"


def loading_arguments(quantisation: Quantisation) -> dict[str, Any]:
    """Return the arguments of transformers' ``BitsAndBytesConfig``, as plain JSON.

    NF4 with double quantisation: a code of 4 bits for each weight, a scale of 8 bits for each 64 (QLoRA, arXiv
    2305.14314). What stands outside the numbered layers keeps its format: heads and poolers are trained in full, and
    bitsandbytes fails on layers as narrow as a head.
    """
    assert quantisation is Quantisation.NF4
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "float32",
        "llm_int8_skip_modules": [_OUTSIDE_THE_LAYERS],
    }


def missing_package(quantisation: Quantisation) -> str | None:
    """Return which package this needs and how to get it, or None if it is installed; it is not imported."""
    return not_installed(_PACKAGE, quantisation)


def require_package(quantisation: Quantisation) -> None:
    """Raise ``UserError`` if the package that this needs is not installed."""
    missing = missing_package(quantisation)
    if missing:
        raise UserError(f"quantisation: {missing}")
