"""Base class for text generation: data, prompt tokens, loss and perplexity."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.generation import GENERATION_METRICS
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.columns import with_columns
from orchestrator.objective.rows.slice_columns import kept_columns
from orchestrator.objective.splits import Splitter, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class TextGeneration:
    """Base of ``CausalLM`` and ``Seq2SeqLM``. They define ``encode`` and ``collate``.

    A task sets ``name``, ``target``, ``prompt`` and ``default_source``.

    Attributes:
        target: the column with the text to generate.
        prompt: the model's input, with ``{text}`` for the row's text. The text is truncated to fit ``max_length``;
            the rest of the prompt is kept.
        ahead: distance between a token and its logits, in positions: 1 in a causal model, 0 in a decoder (its input
            is shifted already).
        generation_metrics: the metrics of answers, from ``core.tasks.generation.GENERATION_METRICS``; none by default.
    """

    name: str
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE, "perplexity": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_source: Source
    target: str
    prompt: str = "{text}"
    ahead: int = 0
    generation_metrics: Mapping[str, Direction] = {}

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data; see ``Objective.splits`` and ``read_splits``."""
        return read_splits(plan, self.read, Splitter(label=None, target=self.target))

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source.

        Columns: ``text``, the target, ``group``, if the source has it, and ``slice/<name>`` for each further name in
        ``columns``.
        """
        rows = read_table(source, columns, required=("text", self.target), text=("text", self.target))
        own = ("text", self.target, "group")
        return with_columns(rows, own, kept_columns(rows, columns, own))

    def prompt_tokens(
        self, tokenizer: "PreTrainedTokenizerBase", max_length: int, least: int
    ) -> tuple[list[int], list[int], int]:
        """Return the prompt's token ids before and after the text, and the number of tokens left for the text.

        Args:
            tokenizer: the base model's.
            max_length: limit of the row, in tokens.
            least: smallest number of tokens left.

        Raises:
            DataError: fewer than ``least`` tokens are left.
        """
        before, _, after = self.prompt.partition("{text}")
        whole = tokenizer("a", return_special_tokens_mask=True)
        ids, special = whole["input_ids"], whole["special_tokens_mask"]  # the text between special tokens
        first, last = ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]
        head = [*first, *tokenizer(before, add_special_tokens=False)["input_ids"]]
        tail = [*tokenizer(after, add_special_tokens=False)["input_ids"], *last]
        remaining = max_length - len(head) - len(tail)
        if remaining < least:
            raise DataError(
                f"max_length: the prompt of {self.name} takes {len(head) + len(tail)} tokens by itself and needs at "
                f"least {least} more, got {max_length}"
            )
        return head, tail, remaining

    def prompts(
        self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int
    ) -> list[list[int]]:
        """Return each row's prompt within ``max_length`` tokens. Its target takes none of them."""
        head, tail, remaining = self.prompt_tokens(tokenizer, max_length, least=1)
        texts = tokenizer(rows["text"][:], add_special_tokens=False, verbose=False)["input_ids"] if len(rows) else []
        return [[*head, *text[:remaining], *tail] for text in texts]

    def references(self, rows: "datasets.Dataset") -> list[str]:
        """Return the targets."""
        return list(rows[self.target][:])

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_sum_B, tokens_B)`` for ``logits_BSV``: summed cross entropy and number of target tokens."""
        import torch

        labels_BS = batch["labels"][:, self.ahead :]
        # Flattened: with the classes in the middle dimension, GPU kernels are fifty times slower.
        loss_N = torch.nn.functional.cross_entropy(
            logits[:, : labels_BS.shape[1]].float().flatten(0, 1),
            labels_BS.flatten(),
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return loss_N.view(labels_BS.shape).sum(dim=1), (labels_BS != IGNORED).sum(dim=1).float()

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(summed negative log-likelihood, number of target tokens)`` per row, input of ``measure``."""
        nll_B, tokens_B = self.losses(logits, batch)
        return [*zip(nll_B.tolist(), tokens_B.tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
        """Return the perplexity: exp of the mean negative log-likelihood per target token; infinite above exp(700)."""
        mean = math.fsum(nll for nll, _ in pairs) / max(1.0, math.fsum(tokens for _, tokens in pairs))
        return {"perplexity": math.inf if mean > 700 else math.exp(mean)}

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:  # noqa: ARG002  (the protocol's)
        """Return None: there is no classical baseline."""
        return None


class WrittenTarget(TextGeneration):
    """Base of ``generation`` and ``generation_seq2seq``: the column ``target``, written from ``text``.

    The sweep file maps both columns, and may set ``data.prompt``. Without a source of its own a task writes the
    headlines of the default one.
    """

    default_source: Source = Source(origin=Origin.PACKAGED, name="bbc-news")
    target: str = "target"
    generation_metrics: Mapping[str, Direction] = GENERATION_METRICS

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source; the target of the default source is its headline."""
        if source == self.default_source:
            columns = {"target": "headline", **columns}
        return super().read(source, columns)
