"""Suggests a known name for a misspelt one."""

import difflib
from collections.abc import Collection
from itertools import islice

_COMPARED = 200

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
    "fp16": "float16",
    "half": "float16",
    "bayes": "surrogate",
    "bayesian": "surrogate",
    "bo": "surrogate",
    "optuna": "tpe",
    "hyperopt": "tpe",
    "gaussian_process": "gp",
    "cma-es": "cmaes",
    "cma_es": "cmaes",
    "sobol": "qmc",
    "evolution": "nsgaii",
    "genetic": "nsgaii",
    "nsga2": "nsgaii",
    "nsga-ii": "nsgaii",
    "max_trials": "trials",
    "num_trials": "trials",
    "timeout": "wall_time",
    "max_concurrent": "parallel_trials",
}
"""Names of other tools with a different spelling."""


def did_you_mean(value: str, known: Collection[str]) -> str:
    """Return ``; did you mean x?`` with the most similar known name, or '' if none is similar."""
    other = _OTHER_WORDS.get(value.lower())
    # The time of a comparison grows with both lengths, so both are limited.
    few = [*islice(known, _COMPARED)]
    near = [other] if other in known else difflib.get_close_matches(value.lower()[:_COMPARED], few, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(value: str, known: Collection[str]) -> str:
    """Return the message for a ``value`` outside ``known``, with the most similar name as a hint."""
    return f"one of {', '.join(known)} is needed, got {value[:_COMPARED]!r}{did_you_mean(value, known)}"
