"""Quantisation of the frozen weights: its name in the sweep file, and the arguments for transformers. No torch."""

import enum
from typing import Any

from orchestrator.core.environment import not_installed
from orchestrator.core.errors import UserError

_PACKAGE = "bitsandbytes"
_OUTSIDE_THE_LAYERS = r"(?!.*\.\d+\.).*"
"""Matches names without a number between dots: heads, poolers and embeddings, not the numbered layers."""


class Quantisation(enum.StrEnum):
    """Number format of the frozen linear layers."""

    NF4 = "nf4"


def loading_arguments(quantisation: Quantisation) -> dict[str, Any]:
    """Return the arguments of transformers' ``BitsAndBytesConfig``, as plain JSON.

    NF4 with double quantisation: a 4-bit code for each weight, an 8-bit scale for each 64 (QLoRA, arXiv 2305.14314).
    Modules outside the numbered layers keep their format: heads and poolers are trained in full, and bitsandbytes fails
    on layers as narrow as a head.
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
    """Return a message with the install command if the needed package is missing, else None; nothing is imported."""
    return not_installed(_PACKAGE, quantisation)


def require_package(quantisation: Quantisation) -> None:
    """Raise ``UserError`` if the needed package is not installed."""
    missing = missing_package(quantisation)
    if missing:
        raise UserError(f"quantisation: {missing}")
