"""Pad encoded rows to the longest of a batch."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from orchestrator.core.errors import DataError
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
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids_BT, mask_BT = _padded([example["input_ids"] for example in examples], padding or 0)
    labels = [example["labels"] for example in examples]
    per_token = hasattr(labels[0], "__len__")
    return {
        "input_ids": ids_BT,
        "attention_mask": mask_BT.long(),
        "labels": _padded(labels, IGNORED)[0] if per_token else _ids(labels),
    }


def _ids(labels: "Sequence[int]") -> "torch.Tensor":
    """Return ``labels_B``; real numbers are refused, because a conversion to integers would cut them.

    Raises:
        DataError: a label is a real number.
    """
    import torch

    labels_B = torch.tensor(labels)
    if labels_B.is_floating_point():
        raise DataError(
            f"labels are real numbers (such as {labels[0]}); class ids are needed, regression is not supported"
        )
    return labels_B.long()


def _padded(rows: Sequence[Sequence[int]], padding: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return ``values_BT`` and which of them are no padding; a tensor for each row would take several times as long."""
    import numpy as np
    import torch

    lengths_B = np.fromiter(map(len, rows), np.int64, len(rows))
    real_BT = np.arange(lengths_B.max(initial=0)) < lengths_B[:, None]
    values_BT = np.full(real_BT.shape, padding, np.int64)
    values_BT[real_BT] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths_B.sum()))
    return torch.from_numpy(values_BT), torch.from_numpy(real_BT)
