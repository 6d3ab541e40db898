"""Writing answers with one model: greedy decoding in batches, with transformers' ``generate``."""

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.evaluation.generation.answers import LEFT_OUT, Answer
from orchestrator.evaluation.measure import batches
from orchestrator.evaluation.row_independence import rope_length_limit

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

BATCH_TOKENS = {"cpu": 4096, "cuda": 65_536}
"""Padded prompt tokens of a batch by device type. A new token of a batch costs about as much as one of a single row."""
_TOKENS = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id", "pad_token_id")
"""Settings of ``generate`` that belong to the vocabulary, not to the way of decoding."""


def write(
    model: "PreTrainedModel | PeftModel",
    prompts: Sequence[Sequence[int]],
    tokenizer: "PreTrainedTokenizerBase",
    max_new_tokens: int,
    *,
    batch_tokens: int | None = None,
    time_limit_s: float | None = None,
) -> list[Answer]:
    """Return the greedy answer to each prompt, in order; the model is in eval mode meanwhile.

    Prompts of a causal model are padded on the left, those of an encoder-decoder on the right.

    Args:
        model: a transformers model, or a PEFT model over one.
        prompts: token ids of each row.
        tokenizer: the base model's.
        max_new_tokens: most tokens of an answer.
        batch_tokens: most padded prompt tokens of a batch of several rows; None chooses by device.
        time_limit_s: longest time for all answers; rows not answered by then are unfinished, and a batch may take one
            token longer. The workers of a trial agree before each batch, and finish a batch that they have begun. None:
            no limit.
    """
    import torch
    from peft import PeftModel

    inner: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    base: PreTrainedModel = inner
    budget = BATCH_TOKENS[base.device.type] if batch_tokens is None else batch_tokens
    if rope_length_limit(model) is not None:  # a row's positions would depend on the longest row
        budget = 1
    training, own = model.training, base.generation_config
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    found: dict[int, Answer] = {}
    model.eval()
    try:
        with torch.inference_mode():
            for rows in parts(base, prompts, max_new_tokens, budget):
                left_s = None if deadline is None else _least(deadline - time.monotonic(), base.device)
                if left_s is not None and left_s <= 0:
                    found |= dict.fromkeys(rows, LEFT_OUT)
                    continue
                most = new_tokens(base, len(prompts[rows[0]]), max_new_tokens)
                # ``generate`` takes from the model's own settings what others leave open.
                base.generation_config = greedy(base, own, tokenizer, most, None if _has_others() else left_s)
                written = _batch(model, base, [prompts[row] for row in rows], tokenizer)
                found |= dict(zip(rows, written, strict=True))
    finally:
        base.generation_config = own
        model.train(training)
    return [found[row] for row in range(len(prompts))]


def _has_others() -> bool:
    """Return whether this process writes together with others, the workers of a trial."""
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _least(left_s: float, device: "torch.device") -> float:
    """Return the least remaining time of all workers. Each of them must call it before the same batch.

    They compute the forwards of a batch together, so none may leave out a batch that another one writes.
    """
    if not _has_others():
        return left_s
    import torch
    import torch.distributed as dist

    least = torch.tensor([left_s], device=device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    return float(least)


def parts(
    base: "PreTrainedModel", prompts: Sequence[Sequence[int]], max_new_tokens: int, budget: int
) -> Iterator[list[int]]:
    """Yield the row numbers of each batch; a row close to the model's last position is alone."""
    lengths = [len(prompt) for prompt in prompts]
    near = [row for row, length in enumerate(lengths) if new_tokens(base, length, max_new_tokens) < max_new_tokens]
    yield from ([row] for row in near)
    others = [row for row in range(len(prompts)) if row not in set(near)]
    for batch in batches([lengths[row] for row in others], budget):
        yield [others[at] for at in batch]


def _batch(
    model: "PreTrainedModel | PeftModel",
    base: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    tokenizer: "PreTrainedTokenizerBase",
) -> list[Answer]:
    decoder = base.config.is_encoder_decoder
    inputs = tokenizer.pad(
        {"input_ids": [[*prompt] for prompt in prompts]},
        padding_side="right" if decoder else "left",
        return_tensors="pt",
    ).to(base.device)
    generate: Any = model.generate
    ids_BT = generate(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    start = 1 if decoder else inputs["input_ids"].shape[1]  # a decoder's start token may be an end token too
    ends = end_tokens(base.generation_config, tokenizer)
    config = base.generation_config
    most = None if config.max_time is None else config.max_new_tokens
    return [finished(row, tokenizer, ends, most) for row in ids_BT[:, start:].tolist()]


def finished(
    new: Sequence[int], tokenizer: "PreTrainedTokenizerBase", ends: Sequence[int], most: int | None = None
) -> Answer:
    """Return the answer in new tokens: those before the first end token.

    Args:
        new: the tokens after the prompt.
        tokenizer: the base model's.
        ends: end tokens.
        most: limit of tokens; an answer with neither an end nor so many tokens was ended by time. None: there was no
            time limit.
    """
    end = next((index for index, token in enumerate(new) if token in ends), len(new))
    if most is not None and end == len(new) < most:
        return LEFT_OUT
    text = tokenizer.decode([*new[:end]], skip_special_tokens=True)
    return Answer(text=str(text).strip(), cut=end == len(new))


def greedy(
    base: "PreTrainedModel",
    own: "GenerationConfig",
    tokenizer: "PreTrainedTokenizerBase",
    max_new_tokens: int,
    max_time_s: float | None = None,
) -> "GenerationConfig":
    """Return the settings of greedy decoding, with the end tokens of the tokenizer and of the base model.

    A base model's own way of decoding (beams, penalties) is left out: trials and baselines are compared by one rule.
    """
    from transformers import GenerationConfig

    known = {name: getattr(own, name, None) for name in _TOKENS}
    if base.config.is_encoder_decoder and known["decoder_start_token_id"] is None:
        known["decoder_start_token_id"] = getattr(base.config, "decoder_start_token_id", None)
    known["pad_token_id"] = tokenizer.pad_token_id
    return GenerationConfig(
        **known,
        eos_token_id=end_tokens(own, tokenizer),
        max_new_tokens=max_new_tokens,
        max_time=max_time_s,
        do_sample=False,
        num_beams=1,
    )


def end_tokens(own: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return the end tokens: the tokenizer's, as in training, then the base model's."""
    ends = own.eos_token_id
    named = [tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
    return list(dict.fromkeys(token for token in named if token is not None))


def new_tokens(base: "PreTrainedModel", width: int, most: int) -> int:
    """Return how many tokens may follow a prompt of ``width`` tokens: at most ``most``, within the model's positions.

    A decoder's positions begin after its prompt.
    """
    if base.config.is_encoder_decoder:
        return most
    positions = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return most
    return max(1, min(most, positions - width + 1))  # the last token needs no position
