"""Base class for causal language modelling: a prompt and a target, with the loss on the target's tokens only."""

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


class CausalLM(TextGeneration):
    """Base of objectives for causal language models; ``TextGeneration`` lists the attributes of a task.

    Prompt and target share ``max_length`` tokens. In a longer row, the text is truncated first, then the target.
    """

    head: Head = Head.CAUSAL_LM
    default_model: Source = Source(origin=Origin.PACKAGED, name="smollm2")
    prompt: str = "{text}\n"
    ahead: int = 1

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise prompt, target and the end-of-sequence token; ``labels`` are −100 on the prompt."""
        if len(rows) == 0:
            return []
        head, tail, remaining = self.prompt_tokens(tokenizer, max_length, least=2)
        texts = tokenizer(rows["text"][:], add_special_tokens=False, verbose=False)["input_ids"]
        targets = tokenizer(rows[self.target][:], add_special_tokens=False, verbose=False)["input_ids"]
        examples = []
        for text, whole in zip(texts, targets, strict=True):
            target = [*whole, tokenizer.eos_token_id][:remaining]
            prompt = [*head, *text[: remaining - len(target)], *tail]
            examples.append({"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target})
        return examples

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the right; ``labels_BT`` are −100 on prompt and padding."""
        return pad(examples, tokenizer)
