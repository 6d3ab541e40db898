"""Base class for sequence-to-sequence models: the encoder's input is the prompt, the loss is on the target."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.core.data import Origin, Source
from orchestrator.objective.generation import TextGeneration
from orchestrator.objective.padding import IGNORED, pad
from orchestrator.objective.protocol import Example, Head

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class Seq2SeqLM(TextGeneration):
    """Base of objectives for models such as T5; ``TextGeneration`` lists the attributes of a task.

    Prompt and target have up to ``max_length`` tokens each; longer texts and targets are truncated.
    """

    head: Head = Head.SEQ2SEQ_LM
    default_model: Source = Source(origin=Origin.HUB, name="google-t5/t5-small")

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise prompts and targets, each with the tokenizer's special tokens.

        The end-of-sequence token is appended to targets if the tokenizer appends no special token itself.
        """
        if len(rows) == 0:
            return []
        head, tail, remaining = self.prompt_tokens(tokenizer, max_length, least=1)
        texts = tokenizer(rows["text"][:], add_special_tokens=False, verbose=False)["input_ids"]
        has_end = tokenizer(text_target="a", return_special_tokens_mask=True)["special_tokens_mask"][-1]
        end = [] if has_end or tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        limit = max_length - len(end)
        targets = tokenizer(text_target=rows[self.target][:], truncation=True, max_length=limit)["input_ids"]
        return [
            {"input_ids": [*head, *text[:remaining], *tail], "labels": [*target, *end]}
            for text, target in zip(texts, targets, strict=True)
        ]

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad prompts and targets on the right, each to its longest row; ``labels_BS`` are −100 at padding."""
        batch = pad(examples, tokenizer)
        return {**batch, "decoder_attention_mask": (batch["labels"] != IGNORED).long()}
