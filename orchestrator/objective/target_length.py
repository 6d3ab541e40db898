"""The length of the answers of a generative task, from its training rows."""

import math
from typing import TYPE_CHECKING

from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import Head, Objective

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

SHARE = 0.99
"""Share of the training targets that are no longer than the default limit of an answer."""
_ROWS = 2000
"""Most rows that are counted, evenly spaced."""


def writes(objective: Objective) -> bool:
    """Return whether the objective's model generates text."""
    return objective.head in {Head.CAUSAL_LM, Head.SEQ2SEQ_LM}


def default_new_tokens(
    objective: Objective, train: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> int:
    """Return the default limit of an answer in tokens, end token included: the 99th percentile of training targets.

    Args:
        objective: writes text.
        train: its training rows.
        tokenizer: the base model's.
        max_length: limit of a row in tokens; longer targets are cut in training too.
    """
    step = max(1, math.ceil(len(train) / _ROWS))
    rows = objective.encode(train.select(range(0, len(train), step)), tokenizer, max_length)
    lengths = sorted(sum(label != IGNORED for label in row["labels"]) for row in rows)
    longest: int = lengths[math.ceil(SHARE * len(lengths)) - 1]
    return max(1, longest)
