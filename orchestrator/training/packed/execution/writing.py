"""Writing answers: greedy decoding for all slots of a pack together, over one forward of the frozen base.

All slots answer the same prompts. A causal model stores keys and values (``SlotCache``), so each new token costs one
token's forward. The first batch compares it with a forward of whole rows: where they differ, and in encoder-decoders,
every token is written by a forward of the whole row (of the decoder; the encoder reads the prompts once).
"""

import inspect
import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from transformers.modeling_outputs import BaseModelOutput

from orchestrator.evaluation.generation.answers import LEFT_OUT, Answer
from orchestrator.evaluation.generation.write import finished, greedy, new_tokens, parts
from orchestrator.evaluation.thread_group import ThreadGroup
from orchestrator.training.packed.execution.pack import Pack
from orchestrator.training.packed.layers.cache import SlotCache
from orchestrator.training.packed.layers.context import forward_context
from orchestrator.training.packed.layout.blocks import Layout, batch_layout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WRITE_TOKENS = {"cpu": 8192, "cuda": 131_072}
"""Padded prompt tokens of a batch over all slots, by device type."""
_CLOSE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Largest difference of the logits with and without the cache, as a share of the largest logit."""
logger = logging.getLogger(__name__)


class Writer:
    """Writes the answers of the slots of a pack."""

    def __init__(self, pack: Pack, tokenizer: "PreTrainedTokenizerBase", thread_group: ThreadGroup) -> None:
        self._pack = pack
        self._tokenizer = tokenizer
        self._thread_group = thread_group
        self.cached: bool | None = False if pack.model.config.is_encoder_decoder else None
        """Whether keys and values are stored; None: not tried yet."""

    def write(
        self,
        slots: Sequence[int],
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        time_limit_s: float | None = None,
    ) -> dict[int, list[Answer]]:
        """Return each slot's answers to the same prompts, in order.

        Args:
            slots: ascending.
            prompts: token ids of each row.
            max_new_tokens: most tokens of an answer.
            time_limit_s: longest time for the answers of one slot; all slots together have the sum of their times.
                Answers not finished by then are unfinished in all slots, up to one token later. None: no limit.
        """
        pack = self._pack
        deadline = math.inf if time_limit_s is None else time.monotonic() + time_limit_s * len(slots)
        pack.set_training(training=False)
        budget = max(1, WRITE_TOKENS[pack.device.partition(":")[0]] // len(slots))
        batches = [*parts(pack.model, prompts, max_new_tokens, budget)]
        with torch.inference_mode():
            if self.cached is None and batches:
                self.cached = self._tried(slots, [prompts[row] for row in batches[0][:2]])
            results = self._thread_group.map(
                lambda rows: self._answers(slots, [prompts[row] for row in rows], max_new_tokens, deadline), batches
            )
        found: dict[int, dict[int, Answer]] = {slot: {} for slot in slots}
        for rows, written in zip(batches, results, strict=True):
            for slot in slots:
                found[slot] |= dict(zip(rows, written[slot], strict=True))
        return {slot: [answers[row] for row in range(len(prompts))] for slot, answers in found.items()}

    def _answers(
        self, slots: Sequence[int], prompts: Sequence[Sequence[int]], max_new_tokens: int, deadline: float
    ) -> dict[int, list[Answer]]:
        """Return each slot's answers to the prompts of a batch.

        Args:
            slots: ascending.
            prompts: token ids of each row.
            max_new_tokens: most tokens of an answer.
            deadline: time of ``time.monotonic`` after which no further token is written; infinite: never.
        """
        if time.monotonic() >= deadline:
            return {slot: [LEFT_OUT] * len(prompts) for slot in slots}
        pack, tokenizer = self._pack, self._tokenizer
        most = new_tokens(pack.model, len(prompts[0]), max_new_tokens)
        config = greedy(pack.model, pack.model.generation_config, tokenizer, most)
        rows: _CausalRows | _DecoderRows
        if pack.model.config.is_encoder_decoder:
            rows = _DecoderRows(pack, slots, prompts, config.decoder_start_token_id, config.forced_bos_token_id)
        else:
            rows = _CausalRows(pack, slots, prompts, most, cached=bool(self.cached))
        ends_E = torch.tensor(config.eos_token_id, dtype=torch.long)
        written, ended_B = list[torch.Tensor](), torch.zeros(len(slots) * len(prompts), dtype=torch.bool)
        for _ in range(most):
            next_B = rows.next_tokens() if not written else rows.tokens_after(written[-1])
            written.append(next_B)
            ended_B |= torch.isin(next_B, ends_E)
            if bool(ended_B.all()) or time.monotonic() >= deadline:
                break
        answers = [finished(row, tokenizer, config.eos_token_id, most) for row in torch.stack(written, dim=1).tolist()]
        return {slot: answers[at * len(prompts) : (at + 1) * len(prompts)] for at, slot in enumerate(slots)}

    def _tried(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> bool:
        """Return whether the logits after a token are the same with and without stored keys and values."""
        stored, whole = (_CausalRows(self._pack, slots, prompts, 1, cached=cached) for cached in (True, False))
        next_B = stored.next_tokens()
        whole.next_tokens()
        if stored.is_filled:
            stored.tokens_after(next_B)
            whole.tokens_after(next_B)
            largest = float(whole.logits_BV.abs().max())
            if float((stored.logits_BV - whole.logits_BV).abs().max()) <= _CLOSE[self._pack.dtype] * largest:
                return True
        logger.warning("answers are written without stored keys and values: this model computes other logits with them")
        return False


class _CausalRows:
    """The rows of a batch in a causal model; all slots have the same prompts.

    Attributes:
        logits_BV: of the newest token of each row, float32.
    """

    logits_BV: torch.Tensor

    def __init__(
        self, pack: Pack, slots: Sequence[int], prompts: Sequence[Sequence[int]], spare: int, *, cached: bool
    ) -> None:
        self._pack, self._rows = pack, dict.fromkeys(slots, len(prompts))
        self._ids = [[*prompt] for _ in slots for prompt in prompts]
        self._spare, self._cached = spare, cached
        self._cache: SlotCache | None = None
        self._keeps = "logits_to_keep" in inspect.signature(type(pack.model).forward).parameters

    @property
    def is_filled(self) -> bool:
        """Whether the model has stored keys and values."""
        return self._cache is not None and self._cache.is_filled

    def next_tokens(self) -> torch.Tensor:
        """Read whole rows; return the most likely next token of each."""
        pack, lengths_B = self._pack, torch.tensor([len(row) for row in self._ids])
        ids_BT = torch.zeros(len(self._ids), int(lengths_B.max()), dtype=torch.long)
        for row, ids in enumerate(self._ids):
            ids_BT[row, : len(ids)] = torch.tensor(ids)
        mask_BT = (torch.arange(ids_BT.shape[1])[None] < lengths_B[:, None]).long()
        layout = batch_layout(mask_BT, self._rows, pack.slots, pack.dtype, device=pack.device)
        if self._cached:
            self._cache = SlotCache(layout, lengths_B.to(pack.device), self._spare)
        inputs = {"input_ids": ids_BT.to(pack.device), "attention_mask": mask_BT.to(pack.device)}
        return self._forward(layout, inputs, layout.first_tokens_B + lengths_B.to(pack.device) - 1)

    def tokens_after(self, newest_B: torch.Tensor) -> torch.Tensor:
        """Append a token to each row; return the most likely next one."""
        for row, token in zip(self._ids, newest_B.tolist(), strict=True):
            row.append(token)
        if self._cache is None:
            return self.next_tokens()
        pack, ones_B1 = self._pack, torch.ones(len(newest_B), 1, dtype=torch.long)
        layout = batch_layout(ones_B1, self._rows, pack.slots, pack.dtype, device=pack.device)
        inputs = {"input_ids": newest_B[:, None].to(pack.device), "attention_mask": ones_B1.to(pack.device)}
        self._cache.begin_token()
        next_B = self._forward(layout, inputs, torch.arange(len(newest_B), device=pack.device))
        self._cache.end_token()
        return next_B

    def _forward(self, layout: Layout, inputs: Mapping[str, torch.Tensor], last_B: torch.Tensor) -> torch.Tensor:
        keep = {"logits_to_keep": last_B} if self._keeps else {}
        logits_NV = _logits(self._pack, layout, {**inputs, **keep, "past_key_values": self._cache}, self._cache)
        self.logits_BV = (logits_NV if len(logits_NV) == len(last_B) else logits_NV[last_B]).float()
        return self.logits_BV.argmax(dim=1).cpu()


class _DecoderRows:
    """The rows of a batch in an encoder-decoder: the encoder has read the prompts, the decoder reads whole rows."""

    def __init__(
        self, pack: Pack, slots: Sequence[int], prompts: Sequence[Sequence[int]], start: int, forced: int | None
    ) -> None:
        self._pack, self._forced = pack, forced
        lengths_B = torch.tensor([len(prompt) for _ in slots for prompt in prompts])
        ids_BT = torch.zeros(len(lengths_B), int(lengths_B.max()), dtype=torch.long)
        for row in range(len(ids_BT)):
            ids_BT[row, : lengths_B[row]] = torch.tensor(prompts[row % len(prompts)])
        mask_BT = (torch.arange(ids_BT.shape[1])[None] < lengths_B[:, None]).long()
        rows = dict.fromkeys(slots, len(prompts))
        self._layout = batch_layout(mask_BT, rows, pack.slots, pack.dtype, device=pack.device)
        self._mask_BT = mask_BT.to(pack.device)
        self._ids_BS = torch.full((len(lengths_B), 1), start, device=pack.device)
        _prepare(pack, self._layout)
        with forward_context(self._layout):
            encoder = pack.model.get_encoder()
            read = encoder(input_ids=ids_BT.to(pack.device), attention_mask=self._mask_BT)
        self._encoded = BaseModelOutput(last_hidden_state=read.last_hidden_state)

    def next_tokens(self) -> torch.Tensor:
        """Return the most likely next token of each row."""
        length = self._ids_BS.shape[1]
        if length == 1 and self._forced is not None:
            return torch.full((len(self._ids_BS),), self._forced)
        inputs = {
            "encoder_outputs": self._encoded,
            "attention_mask": self._mask_BT,
            "decoder_input_ids": self._ids_BS,
            "decoder_attention_mask": torch.ones_like(self._ids_BS),
        }
        logits_NV = _logits(self._pack, self._layout, inputs)
        last: torch.Tensor = logits_NV.view(len(self._ids_BS), length, -1)[:, -1].float().argmax(dim=1).cpu()
        return last

    def tokens_after(self, newest_B: torch.Tensor) -> torch.Tensor:
        """Append a token to each row; return the most likely next one."""
        self._ids_BS = torch.cat([self._ids_BS, newest_B[:, None].to(self._ids_BS.device)], dim=1)
        return self.next_tokens()


def _logits(pack: Pack, layout: Layout, inputs: Mapping[str, object], cache: SlotCache | None = None) -> torch.Tensor:
    """Return the logits of flat tokens, or of those to keep."""
    _prepare(pack, layout)
    with forward_context(layout, cache=cache):
        logits_1NV: torch.Tensor = pack.model(**inputs, use_cache=False).logits
    return logits_1NV[0]


def _prepare(pack: Pack, layout: Layout) -> None:
    if pack.device != "cpu":
        pack.parameters.prepare_matrices(layout.slots_G, pack.dtype, training=False)
