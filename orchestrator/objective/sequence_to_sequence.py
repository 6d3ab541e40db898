"""Sequence to sequence: an encoder reads the prompt, a decoder writes the target, on which the loss is taken."""

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
    """Base of objectives for T5 and its like; see ``TextGeneration`` for what a task sets.

    Prompt and target have ``max_length`` tokens each: a longer row's text is cut, and so is a longer target.
    """

    head: Head = Head.SEQ2SEQ_LM
    default_model: Source = Source(origin=Origin.HUB, name="google-t5/t5-small")

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise prompts and targets, each with the special tokens that the tokenizer gives it.

        A target ends with the end-of-sequence token if the tokenizer does not end it with a special token by itself.
        """
        if len(rows) == 0:
            return []
        head, tail, room = self.around_text(tokenizer, max_length, least=1)
        texts = tokenizer(rows["text"][:], add_special_tokens=False, verbose=False)["input_ids"]
        ended = tokenizer(text_target="a", return_special_tokens_mask=True)["special_tokens_mask"][-1]
        end = [] if ended or tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        limit = max_length - len(end)
        targets = tokenizer(text_target=rows[self.target][:], truncation=True, max_length=limit)["input_ids"]
        return [
            {"input_ids": [*head, *text[:room], *tail], "labels": [*target, *end]}
            for text, target in zip(texts, targets, strict=True)
        ]

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad prompts and targets on the right, each to their own longest; ``labels_BS`` are −100 on padding."""
        batch = pad(examples, tokenizer)
        return {**batch, "decoder_attention_mask": (batch["labels"] != IGNORED).long()}
