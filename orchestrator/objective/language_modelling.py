"""Causal language modelling from a prompt to a target; the loss is taken on the target's tokens alone."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.objective.classification import shift_columns
from orchestrator.objective.padding import IGNORED, pad
from orchestrator.objective.protocol import Example, Head, Splits
from orchestrator.objective.splits import Cutting

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class CausalLM:
    """Base of objectives that write a target after a prompt.

    A task sets ``name``, ``target``, ``prompt`` and ``default_source``. A row's pair (see ``predictions``) is its
    summed negative log-likelihood and its number of target tokens, from which ``measure`` computes the perplexity.

    Attributes:
        target: the column that is to be written.
        prompt: what stands before it, with ``{text}`` for the row's text. If a row is longer than ``max_length``, its
            text is cut, then its target; what surrounds the text in the prompt stays whole.
    """

    name: str
    head: Head = Head.CAUSAL_LM
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE, "perplexity": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_model: Source = Source(origin=Origin.PACKAGED, name="smollm2")
    default_source: Source
    target: str
    prompt: str = "{text}\n"

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and cut the data; see ``Objective.splits`` and ``Cutting``."""
        cutting = Cutting(label=None)
        train, validation, test = cutting.cut(self.read(plan.source, plan.columns), plan)
        shift = {
            name: cutting.shift(self.read(source, shift_columns(source, plan)), train, plan.shift_rows, plan.seed)
            for name, source in plan.shift.items()
        }
        return Splits(train=train, validation=validation, test=test, shift=shift)

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source that have a target: columns ``text``, the target's and, if there, ``group``."""
        rows = read_table(source, columns, required=("text", self.target))
        rows = rows.select([i for i, target in enumerate(rows[self.target]) if target is not None and target.strip()])
        return rows.select_columns([name for name in ("text", self.target, "group") if name in rows.column_names])

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise prompt, target and the end-of-sequence token; ``labels`` are −100 on the prompt."""
        if len(rows) == 0:
            return []
        before, _, after = self.prompt.partition("{text}")
        head = tokenizer(before)["input_ids"]  # with the beginning-of-sequence token, if this tokenizer adds one
        tail = tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
        room = max_length - len(head) - len(tail)
        if room < 2:
            raise DataError(
                f"max_length: the prompt of {self.name} takes {len(head) + len(tail)} tokens by itself and needs at "
                f"least two more, got {max_length}"
            )
        texts = tokenizer(rows["text"][:], add_special_tokens=False)["input_ids"]
        targets = tokenizer(rows[self.target][:], add_special_tokens=False)["input_ids"]
        examples = []
        for text, whole in zip(texts, targets, strict=True):
            written = [*whole, tokenizer.eos_token_id][:room]
            prompt = [*head, *text[: room - len(written)], *tail]
            examples.append({"input_ids": prompt + written, "labels": [IGNORED] * len(prompt) + written})
        return examples

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the right; ``labels_BT`` are −100 on prompt and padding."""
        return pad(examples, tokenizer)

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return each row's summed cross entropy and its number of target tokens; ``logits_BTV`` predict one ahead."""
        import torch

        ahead_BS = batch["labels"][:, 1:]
        loss_BS = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().transpose(1, 2),
            ahead_BS,
            ignore_index=IGNORED,
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return loss_BS.sum(dim=1), (ahead_BS != IGNORED).sum(dim=1).float()

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(summed negative log-likelihood, number of target tokens)`` per row: enough for the perplexity."""
        nll_B, tokens_B = self.losses(logits, batch)
        return [*zip(nll_B.tolist(), tokens_B.tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
        """Return the perplexity: e to the mean negative log-likelihood of a target token; infinite above e^700."""
        mean = math.fsum(nll for nll, _ in pairs) / max(1.0, math.fsum(tokens for _, tokens in pairs))
        return {"perplexity": math.inf if mean > 700 else math.exp(mean)}

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:  # noqa: ARG002  (the protocol's)
        """Return None: there is no classical model to compare with."""
        return None
