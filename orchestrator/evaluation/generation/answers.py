"""Answers of a model and the rows they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from orchestrator.core.trials.row_measures import Measurement
from orchestrator.evaluation.generation.metrics import bleu, row_scores


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRows:
    """The rows of a split to answer: its first ones, in the random order of the split.

    Attributes:
        prompts: token ids of each row's prompt.
        references: the right answer of each row.
    """

    prompts: Sequence[Sequence[int]]
    references: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A generated answer.

    Attributes:
        text: without special tokens and outer spaces.
        cut: whether the limit of tokens ended it, and not the model's end token.
    """

    text: str
    cut: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredAnswers:
    """Answers with their metrics.

    Attributes:
        metrics: the objective's metrics of answers, by name.
        scores: values of each answered row, for metrics that are means of rows.
        answers: the texts.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    answers: tuple[str, ...] = ()

    def added_to(self, measured: Measurement) -> Measurement:
        """Return a measurement of the same split with these metrics and rows added."""
        rows = replace(measured.rows, scores={**measured.rows.scores, **self.scores}, answers=self.answers)
        return replace(measured, metrics={**measured.metrics, **self.metrics}, rows=rows)


def score(answers: Sequence[Answer], references: Sequence[str], names: Mapping[str, object]) -> ScoredAnswers:
    """Return the answers with the metrics in ``names``; see ``metrics``."""
    texts = tuple(answer.text for answer in answers)
    scores = {name: tuple(row) for name, row in row_scores(texts, references).items() if name in names}
    metrics = {name: fmean(row) for name, row in scores.items()}
    if texts and "bleu" in names:
        metrics["bleu"] = bleu(texts, references)
    return ScoredAnswers(metrics=metrics, scores=scores, answers=texts)
