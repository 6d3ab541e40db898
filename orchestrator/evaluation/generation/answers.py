"""Answers of a model and the rows they belong to."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from orchestrator.core.tasks.generation import UNFINISHED_ANSWERS
from orchestrator.core.trials.row_measures import Measurement
from orchestrator.evaluation.generation.metrics import bleu, row_scores

logger = logging.getLogger(__name__)


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
        unfinished: whether the time limit ended it or left it out; its text is empty.
    """

    text: str
    cut: bool
    unfinished: bool = False


LEFT_OUT = Answer(text="", cut=False, unfinished=True)
"""The answer to a row that the time limit ended."""
NOT_FINISHED = "(not finished in time)"
"""The text of such an answer among the stored rows."""


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
    """Return the answers with the metrics in ``names``; see ``metrics``.

    An unfinished answer counts as an empty one. With any, the metrics contain their number as ``UNFINISHED_ANSWERS``.
    """
    texts = tuple(answer.text for answer in answers)
    scores = {name: tuple(row) for name, row in row_scores(texts, references).items() if name in names}
    metrics = {name: fmean(row) for name, row in scores.items()}
    if texts and "bleu" in names:
        metrics["bleu"] = bleu(texts, references)
    unfinished = sum(answer.unfinished for answer in answers)
    if unfinished:
        metrics[UNFINISHED_ANSWERS] = float(unfinished)
        logger.warning("the time limit left out %d of %d answers; they count as empty", unfinished, len(answers))
    shown = tuple(NOT_FINISHED if answer.unfinished else answer.text for answer in answers)
    return ScoredAnswers(metrics=metrics, scores=scores, answers=shown)
