"""Writing answers with one model: greedy decoding in batches, with transformers' ``generate``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.evaluation.generation.answers import Answer
from orchestrator.evaluation.measure import batches
from orchestrator.evaluation.row_independence import rope_length_limit

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerBase

BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Padded prompt tokens of a batch by device type. A new token of a batch costs about as much as one of a single row."""
_TOKENS = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "pad_token_id")
"""Settings of ``generate`` that belong to the vocabulary, not to the way of decoding."""


def write(
    model: "torch.nn.Module",
    prompts: Sequence[Sequence[int]],
    tokenizer: "PreTrainedTokenizerBase",
    max_new_tokens: int,
    *,
    batch_tokens: int | None = None,
) -> list[Answer]:
    """Return the greedy answer to each prompt, in order; the model is in eval mode meanwhile.

    Prompts of a causal model are padded on the left, those of an encoder-decoder on the right.

    Args:
        model: a transformers model, or a PEFT model over one.
        prompts: token ids of each row.
        tokenizer: the base model's.
        max_new_tokens: most tokens of an answer.
        batch_tokens: most padded prompt tokens of a batch of several rows; None chooses by device.
    """
    import torch

    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model
    budget = BATCH_TOKENS[base.device.type] if batch_tokens is None else batch_tokens
    if rope_length_limit(model) is not None:  # a row's positions would depend on the longest row
        budget = 1
    config, training, plain = greedy(base, tokenizer, max_new_tokens), model.training, base.generation_config
    found: dict[int, Answer] = {}
    model.eval()
    base.generation_config = config  # ``generate`` fills what is absent from the model's own
    try:
        with torch.inference_mode():
            for rows in batches([len(prompt) for prompt in prompts], budget):
                written = _batch(base, [prompts[row] for row in rows], tokenizer)
                found |= dict(zip(rows, written, strict=True))
    finally:
        base.generation_config = plain
        model.train(training)
    return [found[row] for row in range(len(prompts))]


def _batch(
    base: Any, prompts: Sequence[Sequence[int]], tokenizer: "PreTrainedTokenizerBase"
) -> list[Answer]:
    decoder = base.config.is_encoder_decoder
    inputs = tokenizer.pad(
        {"input_ids": [[*prompt] for prompt in prompts]},
        padding_side="right" if decoder else "left",
        return_tensors="pt",
    ).to(base.device)
    ids_BT = base.generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    start = 1 if decoder else inputs["input_ids"].shape[1]  # a decoder's start token may be an end token too
    return [finished(row, tokenizer, base.generation_config.eos_token_id) for row in ids_BT[:, start:].tolist()]


def finished(new: Sequence[int], tokenizer: "PreTrainedTokenizerBase", ends: Sequence[int]) -> Answer:
    """Return the answer in new tokens: those before the first end token."""
    end = next((index for index, token in enumerate(new) if token in ends), len(new))
    text = tokenizer.decode(new[:end], skip_special_tokens=True)
    return Answer(text=str(text).strip(), cut=end == len(new))


def greedy(base: Any, tokenizer: "PreTrainedTokenizerBase", max_new_tokens: int) -> "GenerationConfig":
    """Return the settings of greedy decoding, with the end tokens of the tokenizer and of the base model.

    A base model's own way of decoding (beams, penalties) is left out: trials and baselines are compared by one rule.
    """
    from transformers import GenerationConfig

    known = {name: getattr(base.generation_config, name, None) for name in _TOKENS}
    known["pad_token_id"] = tokenizer.pad_token_id
    return GenerationConfig(
        **known, eos_token_id=end_tokens(base, tokenizer), max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
    )


def end_tokens(base: Any, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the end tokens: the tokenizer's, as in training, then the base model's."""
    own = base.generation_config.eos_token_id
    named = [tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
    return list(dict.fromkeys(token for token in named if token is not None))
