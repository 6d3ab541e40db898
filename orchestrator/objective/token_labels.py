"""The loss of a head with one output per class for every token."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.objective.padding import IGNORED, pad
from orchestrator.objective.protocol import Example, Head

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


class TokenLabels:
    """Part of objectives with a class for every token; ``labels`` of an example are class ids, −100 where none."""

    head: Head = Head.TOKEN_CLASSIFICATION

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the tokenizer's padding side, set by ``load_tokenizer``; ``labels_BT`` are −100 at padding."""
        return pad(examples, tokenizer, "left" if tokenizer.padding_side == "left" else "right")

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_sum_B, tokens_B)`` for ``logits_BTC``: summed cross entropy, and number of labelled tokens."""
        import torch

        labels_BT = batch["labels"]
        loss_N = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            labels_BT.flatten(),
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return loss_N.view(labels_BT.shape).sum(dim=1), (labels_BT != IGNORED).sum(dim=1).float()
