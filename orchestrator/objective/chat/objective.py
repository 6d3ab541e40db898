"""Base class for instruction tuning: conversations, with the loss on the assistant's turns only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.metric import Direction
from orchestrator.objective.chat.messages import Message, Role
from orchestrator.objective.chat.rows import ANSWER, MESSAGES, TEXT, LeftOut, read_conversations
from orchestrator.objective.chat.shortening import shorten
from orchestrator.objective.chat.template import Rendered, Renderer
from orchestrator.objective.language_modelling import CausalLM
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import Example, Splits
from orchestrator.objective.rows.converted import values_in_parts
from orchestrator.objective.splits import Splitter, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class ChatCompletion(CausalLM):
    """Base of objectives with conversations; ``orchestrator.objective.chat.rows`` describes the columns.

    A unit of the loss is one token of an assistant's turn, its end included.

    Attributes:
        chat_template: the text of a template in Jinja, from ``data.chat_template``; None: the tokenizer's own.
    """

    metrics: Mapping[str, Direction] = {
        "loss": Direction.MINIMIZE,
        "perplexity": Direction.MINIMIZE,
        "token_accuracy": Direction.MAXIMIZE,
    }
    target: str = ANSWER
    prompt: str = "{text}"
    chat_template: str | None = None

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data. Rows left out are counted, and a warning names the first of them.

        Raises:
            DataError: a column is missing, a cell has no conversation, or there are too few rows.
        """
        left_out: dict[str, LeftOut] = {}

        def read(source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
            name = ["", *plan.shift][len(left_out)]  # the sweep's own rows are read first, then the shift sets
            left_out[name] = LeftOut()
            return read_conversations(source, columns, left_out[name])

        def counts() -> dict[str, int]:
            return left_out[""].counts()

        splits = read_splits(plan, read, Splitter(label=None, text=TEXT, target=ANSWER), counts)
        dropped, warnings = dict(splits.summary.dropped), [*splits.summary.warnings]
        for name, rows in left_out.items():
            prefix = f"shift/{name}: " if name else ""
            dropped |= {f"{prefix}{reason}": number for reason, number in rows.counts().items()}
            warnings += rows.warnings(str(plan.shift.get(name, plan.source)))
        turns = {str(number): rows for number, rows in turn_counts(splits.train).items()}
        summary = replace(splits.summary, dropped=dropped, warnings=tuple(warnings), turns=turns)
        return replace(splits, summary=summary)

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the conversations of a source; see ``read_conversations``."""
        return read_conversations(source, columns, LeftOut())

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Render and tokenise conversations; ``labels`` are −100 outside of the assistant's turns.

        See ``orchestrator.objective.chat.shortening`` for conversations longer than ``max_length`` tokens.

        Raises:
            DataError: there is no usable chat template, or it refuses a conversation.
        """
        if len(rows) == 0:
            return []
        renderer = Renderer.create(tokenizer, self.chat_template)
        conversations = [tuple(map(Message.from_json, messages)) for messages in rows[MESSAGES][:]]
        found = renderer.render(conversations)
        return [
            _example(rendered if len(rendered.ids) <= max_length else shorten(renderer, messages, max_length))
            for messages, rendered in zip(conversations, found, strict=True)
        ]

    def prompts(
        self,
        rows: "datasets.Dataset",
        tokenizer: "PreTrainedTokenizerBase",
        max_length: int,  # noqa: ARG002  (the protocol's)
    ) -> list[list[int]]:
        """Return the tokens of each conversation before its last answer, with the start of an assistant turn.

        As in ``predict``, they are not cut to ``max_length``.
        """
        if len(rows) == 0:
            return []
        renderer = Renderer.create(tokenizer, self.chat_template)
        return [renderer.prompt_ids([*map(Message.from_json, messages[:-1])]) for messages in rows[MESSAGES][:]]

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``((summed negative log-likelihood, number of tokens predicted first), number of tokens)`` per row."""
        nll_B, tokens_B = self.losses(logits, batch)
        labels_BS = batch["labels"][:, self.ahead :]
        hits_B = (logits[:, : labels_BS.shape[1]].argmax(dim=-1) == labels_BS).sum(dim=1)  # −100 is no token
        pairs = zip(nll_B.tolist(), hits_B.tolist(), strict=True)
        return [*zip(pairs, tokens_B.tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
        """Return ``perplexity``, and ``token_accuracy``: the share of tokens with the highest probability."""
        tokens = max(1.0, math.fsum(number for _, number in pairs))
        hits = math.fsum(found for (_, found), _ in pairs)
        return {
            **super().measure([(nll, number) for (nll, _), number in pairs]),
            "token_accuracy": hits / tokens,
        }


def turn_counts(rows: "datasets.Dataset") -> dict[int, int]:
    """Return the number of conversations by their number of assistant turns."""
    counts: dict[int, int] = {}
    for messages in values_in_parts(rows, MESSAGES):
        turns = sum(message["role"] == Role.ASSISTANT for message in messages)
        counts[turns] = counts.get(turns, 0) + 1
    return dict(sorted(counts.items()))


def _example(rendered: Rendered) -> Example:
    labels = [token if learnt else IGNORED for token, learnt in zip(rendered.ids, rendered.mask, strict=True)]
    return {"input_ids": rendered.ids, "labels": labels}
