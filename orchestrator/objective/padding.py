"""Pads encoded rows to the longest row of a batch."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal

from orchestrator.core.errors import DataError
from orchestrator.objective.protocol import Example

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Label ignored by torch's cross entropy."""


def pad(
    examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase", side: Literal["left", "right"] = "right"
) -> "dict[str, torch.Tensor]":
    """Return ``input_ids_BT``, ``attention_mask_BT`` and ``labels``, all int64.

    ``labels`` have shape B for class ids and B×T for token labels (padded with −100). ``token_type_ids_BT`` are
    included if the examples have them. The mask is computed from the lengths: some tokenizers pad with the
    end-of-sequence token, which is also a token to predict.

    Args:
        examples: encoded rows.
        tokenizer: gives the padding token.
        side: side of the padding.

    Raises:
        DataError: a class id is a real number.
    """
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids_BT, mask_BT = _padded([example["input_ids"] for example in examples], padding or 0, side)
    labels = [example["labels"] for example in examples]
    per_token = hasattr(labels[0], "__len__")
    batch = {
        "input_ids": ids_BT,
        "attention_mask": mask_BT.long(),
        "labels": _padded(labels, IGNORED, side)[0] if per_token else _ids(labels),
    }
    if "token_type_ids" in examples[0]:
        types = [example["token_type_ids"] for example in examples]
        batch["token_type_ids"] = _padded(types, tokenizer.pad_token_type_id, side)[0]
    return batch


def _ids(labels: "Sequence[int]") -> "torch.Tensor":
    """Return ``labels_B``, int64. Real numbers are an error: a conversion would truncate them."""
    import torch

    labels_B = torch.tensor(labels)
    if labels_B.is_floating_point():
        raise DataError(
            f"labels are real numbers (such as {labels[0]}); class ids are needed. For numbers, set objective: "
            "regression"
        )
    return labels_B.long()


def _padded(
    rows: Sequence[Sequence[int]], padding: int, side: Literal["left", "right"]
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return ``values_BT`` and ``is_value_BT`` (False at padding). One tensor per row would be several times slower."""
    import numpy as np
    import torch

    lengths_B = np.fromiter(map(len, rows), np.int64, len(rows))
    places_T = np.arange(lengths_B.max(initial=0))
    real_BT = (places_T if side == "right" else places_T[::-1]) < lengths_B[:, None]
    values_BT = np.full(real_BT.shape, padding, np.int64)
    values_BT[real_BT] = np.fromiter(chain.from_iterable(rows), np.int64, int(lengths_B.sum()))
    return torch.from_numpy(values_BT), torch.from_numpy(real_BT)
