"""The known name that a user probably meant."""

import difflib
from collections.abc import Collection

_OTHER_WORDS = {
    "gpu": "cuda",
    "off": "none",
    "max": "maximize",
    "min": "minimize",
    "lr": "learning_rate",
    "r": "rank",
    "lora_r": "rank",
    "peft_method": "method",
    "peft_type": "method",
    "(ia)3": "ia3",
    "(ia)^3": "ia3",
    "wd": "weight_decay",
    "fp32": "float32",
    "bf16": "bfloat16",
    "bayesian": "tpe",
    "max_trials": "trials",
    "num_trials": "trials",
    "timeout": "wall_time",
    "max_concurrent": "parallel_trials",
}
"""What other tools call the same thing, where the spelling alone would lead astray."""


def did_you_mean(value: str, known: Collection[str]) -> str:
    """Return ``; did you mean x?`` with the known name nearest to ``value``, or nothing if none is near."""
    other = _OTHER_WORDS.get(value.lower())
    near = [other] if other in known else difflib.get_close_matches(value.lower(), known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(value: str, known: Collection[str]) -> str:
    """Return that ``value`` is none of ``known``, with the nearest of them if one is near."""
    return f"one of {', '.join(known)} is needed, got {value!r}{did_you_mean(value, known)}"
