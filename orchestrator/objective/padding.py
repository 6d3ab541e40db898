"""Pad encoded rows to the longest of a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.objective.protocol import Example

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that torch's cross entropy leaves out."""


def pad(examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
    """Return ``input_ids_BT``, ``attention_mask_BT`` and ``labels`` (B where labels are ids, B×T where they are lists).

    Padding stands on the right. The mask comes from the lengths, not from the padding's id: some tokenizers pad with
    the end-of-sequence token, which is also a token to predict.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = [torch.tensor(example["input_ids"], dtype=torch.long) for example in examples]
    labels = [torch.tensor(example["labels"], dtype=torch.long) for example in examples]
    per_token = labels[0].dim() == 1
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=float(padding or 0)),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED) if per_token else torch.stack(labels),
    }
