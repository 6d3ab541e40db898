"""Base class for preference tuning: two answers to one prompt, and a loss over both.

Tensor names: B pairs, N = 2 × B answers, the preferred and the rejected answer of a pair side by side; S tokens.
"""

import copy
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.preference import PreferenceLossName
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.objective.generation import TextGeneration
from orchestrator.objective.padding import IGNORED, pad
from orchestrator.objective.preference.columns import CHOSEN, PAIR, REJECTED, read_pairs
from orchestrator.objective.preference.losses import Answers, PreferenceLoss
from orchestrator.objective.protocol import REFERENCE, Example, Head, Splits
from orchestrator.objective.sequences import join, separate
from orchestrator.objective.splits import Splitter, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase

_Row = tuple[float, float, int, int]
"""Log-probabilities of the preferred and the rejected answer, in nats, and their numbers of tokens."""


class PreferencePairs(TextGeneration):
    """Base of objectives with a preferred and a rejected answer to each prompt.

    The loss is that of the trial's settings ``loss``, ``beta`` and ``gamma``. The reference is the base model without
    adapter: engines compute its log-probabilities once for all trials.

    Prompt and answer share ``max_length`` tokens. In a longer pair, the text of the prompt is truncated first, equally
    for both answers, then the answers.
    """

    name: str
    head: Head = Head.CAUSAL_LM
    metrics: Mapping[str, Direction] = {
        "loss": Direction.MINIMIZE,
        "preference_accuracy": Direction.MAXIMIZE,
        "margin": Direction.MAXIMIZE,
        "logp_accuracy": Direction.MAXIMIZE,
        "chosen_logp": Direction.MAXIMIZE,
    }
    default_metric: str = "val/preference_accuracy"
    default_model: Source = Source(origin=Origin.PACKAGED, name="smollm2")
    target: str = PAIR
    targets: tuple[str, ...] = (CHOSEN, REJECTED)
    prompt: str = "{text}"
    ahead: int = 1
    loss_settings: tuple[str, ...] = ("loss", "beta", "gamma")
    loss: PreferenceLoss = PreferenceLoss(name=PreferenceLossName.DPO, beta=0.1, gamma=0.5)

    def with_settings(self, settings: TrialSettings) -> Self:
        """Return this objective with the loss of a trial."""
        bound = copy.copy(self)
        name = PreferenceLossName(settings.loss)
        bound.loss = PreferenceLoss(name=name, beta=settings.beta, gamma=settings.gamma)
        return bound

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data; see ``Objective.splits`` and ``read_pairs``."""
        left_out = Counter[str]()

        def read(source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
            return self.read_pairs(source, columns, left_out)

        splits = read_splits(plan, read, Splitter(label=None, target=self.target), lambda: left_out)
        dropped = {**splits.summary.dropped, **left_out}
        return replace(splits, summary=replace(splits.summary, dropped=dropped))

    def read_pairs(self, source: Source, columns: Mapping[str, str], left_out: Counter[str]) -> "datasets.Dataset":
        """Return the pairs of a source; see ``columns.read_pairs``. A task may override it to make its own pairs."""
        return read_pairs(source, columns, left_out)

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise prompts and answers, each answer with the end-of-sequence token.

        A row holds both sequences, see ``objective.sequences``; ``labels`` are −100 on the prompts.
        """
        if len(rows) == 0:
            return []
        head, tail, remaining = self.prompt_tokens(tokenizer, max_length, least=2)
        texts, *answers = (
            tokenizer(rows[name][:], add_special_tokens=False, verbose=False)["input_ids"]
            for name in ("text", *self.targets)
        )
        examples = []
        for text, *pair in zip(texts, *answers, strict=True):
            targets = [[*answer, tokenizer.eos_token_id][:remaining] for answer in pair]
            prompt = [*head, *text[: remaining - max(map(len, targets))], *tail]
            examples.append(join([_sequence(prompt, target) for target in targets]))
        return examples

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the right, with two rows per pair: ``input_ids_NS``, ``labels_NS``, ``reference_N1``.

        A row of one sequence gives one row: engines try a model with such rows.
        """
        import torch

        batch = pad([sequence for example in examples for sequence in separate(example)], tokenizer)
        references = [example.get(REFERENCE, (0.0,) * len(separate(example))) for example in examples]
        values = [value for reference in references for value in reference]
        return {**batch, REFERENCE: torch.tensor(values, dtype=torch.float32)[:, None]}

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_B, ones_B)``: a pair is one unit."""
        loss_B = self.loss.values(self._answers(logits, batch), label_smoothing)
        return loss_B, loss_B.new_ones(loss_B.shape)

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[_Row, Any]]:
        """Return per pair the log-probabilities and tokens of its answers, and the base model's log-probabilities."""
        found = self._answers(logits, batch)
        rows = zip(found.logps_B2.tolist(), found.tokens_B2.tolist(), found.reference_B2.tolist(), strict=True)
        return [((*logps, *map(int, tokens)), tuple(reference)) for logps, tokens, reference in rows]

    def with_reference(self, examples: Sequence[Example], pairs: Sequence[tuple[_Row, Any]]) -> list[Example]:
        """Return the rows with the base model's log-probabilities, from its ``predictions``."""
        return [{**example, REFERENCE: row[:2]} for example, (row, _) in zip(examples, pairs, strict=True)]

    def base_metrics(self, pairs: Sequence[tuple[_Row, Any]]) -> dict[str, float]:
        """Return the loss and the metrics of the base model, from its ``predictions``; its margin is 0."""
        own = [(row, row[:2]) for row, _ in pairs]
        return {"loss": self.loss.values(_answers_of(own)).mean().item(), **self.measure(own)}

    def row_scores(self, pairs: Sequence[tuple[_Row, Any]]) -> dict[str, list[float]]:
        """Return the values of each pair; a metric is their mean.

        - ``preference_accuracy``: 1 if the trial's loss rewards the preferred answer more, 0 if less, 0.5 if equally.
        - ``margin``: by how much the preferred answer's log-ratio to the base model exceeds the other's, in nats.
        - ``logp_accuracy``: 1 if the preferred answer has the higher log-probability per token, else 0.
        - ``chosen_logp``: the preferred answer's log-probability, in nats.
        """
        answers = _answers_of(pairs)
        gap_B, per_token_B2 = self.loss.reward_gap_B(answers), answers.logps_B2 / answers.tokens_B2
        found = {
            "preference_accuracy": (gap_B.sign() + 1) / 2,
            "margin": answers.margin_B,
            "logp_accuracy": (per_token_B2[:, 0] > per_token_B2[:, 1]).double(),
            "chosen_logp": answers.logps_B2[:, 0],
        }
        return {name: values_B.tolist() for name, values_B in found.items()}

    def measure(self, pairs: Sequence[tuple[_Row, Any]]) -> dict[str, float]:
        """Return the means of ``row_scores``."""
        return {name: math.fsum(values) / max(1, len(values)) for name, values in self.row_scores(pairs).items()}

    def _answers(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> Answers:
        nll_N, tokens_N = super().losses(logits, batch)
        sides = (-nll_N, batch[REFERENCE][:, 0], tokens_N.clamp(min=1.0))
        logps_B2, reference_B2, tokens_B2 = (values_N.view(-1, 2) for values_N in sides)
        return Answers(logps_B2=logps_B2, reference_B2=reference_B2, tokens_B2=tokens_B2)


def _sequence(prompt: list[int], target: list[int]) -> Example:
    return {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}


def _answers_of(pairs: Sequence[tuple[_Row, Any]]) -> Answers:
    import torch

    rows_B4 = torch.tensor([row for row, _ in pairs], dtype=torch.float64).view(-1, 4)
    reference_B2 = torch.tensor([reference for _, reference in pairs], dtype=torch.float64).view(-1, 2)
    return Answers(logps_B2=rows_B4[:, :2], reference_B2=reference_B2, tokens_B2=rows_B4[:, 2:])
