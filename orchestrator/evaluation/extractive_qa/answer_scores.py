"""Scores of rows with and without an answer at the tuned threshold, from the stored rows of a measurement."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.extractive_qa.row_scores import ABSENT, MARGIN, scores_at, tuned_threshold
from orchestrator.evaluation.extractive_qa.squad import METRICS


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerScore:
    """The rows with an answer, or those without one.

    Attributes:
        rows: their number.
        exact_match, f1: means over these rows, in [0, 1]. Without an answer both are the share of rows for which the
            model gives none.
    """

    rows: int
    exact_match: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerScores:
    """The answers of one adapter on the test rows.

    Attributes:
        answerable: rows with an answer; None without such a row.
        unanswerable: rows without an answer; None without such a row.
        threshold: largest margin of an answered row; None: every row gets an answer.
    """

    answerable: AnswerScore | None
    unanswerable: AnswerScore | None
    threshold: float | None

    @property
    def sentence(self) -> str:
        """Both parts in words, without a full stop."""
        parts = []
        if (some := self.answerable) is not None:
            parts.append(f"{some.rows:,} rows with an answer: F1 {some.f1:.3f}, exact match {some.exact_match:.3f}")
        if (none := self.unanswerable) is not None:
            parts.append(f"{none.rows:,} rows without an answer: {none.exact_match:.3f} of them get none")
        at = "" if self.threshold is None else " (threshold of no answer tuned on the validation rows)"
        return f"{'; '.join(parts)}{at}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def at_threshold(rows: RowMeasures, threshold: float | None) -> RowMeasures:
    """Return the rows with the answers and the metrics at a threshold, as ``predict`` gives them.

    Args:
        rows: the rows of a measurement.
        threshold: largest margin of an answered row; without rows that have no answer it has no effect.
    """
    if MARGIN not in rows.scores or threshold is None:
        return rows
    scores = {name: tuple(row) for name, row in scores_at(rows.scores, threshold).items()}
    margins = rows.scores[MARGIN]
    # Rows stored by an earlier version have no answers.
    answers = tuple("" if margins[row] > threshold else answer for row, answer in enumerate(rows.answers))
    return replace(rows, scores={**rows.scores, **scores}, answers=answers)


def answer_scores(test: Measurement, validation: Measurement | None) -> AnswerScores | None:
    """Return the scores of the test rows; None for another task, and for rows stored without answers.

    Args:
        test: measurement of the test rows.
        validation: that of the validation rows, which the threshold is tuned on; None: the threshold is 0.
    """
    if not test.rows.answers or not {*METRICS} <= {*test.rows.scores}:
        return None
    threshold = row_threshold(test.rows, validation)
    rows = at_threshold(test.rows, threshold)
    # The score of no answer is 1 exactly in rows whose true answers are none (or normalise to nothing).
    absent = [score == 1 for score in rows.scores.get(f"{ABSENT}exact_match", (0.0,) * len(rows.losses))]
    parts = [[row for row, none in enumerate(absent) if none is wanted] for wanted in (False, True)]
    answerable, unanswerable = (_score(rows, part) for part in parts)
    return AnswerScores(answerable=answerable, unanswerable=unanswerable, threshold=threshold)


def row_threshold(test: RowMeasures, validation: Measurement | None) -> float | None:
    """Return the threshold of an adapter: tuned on the validation rows, else 0; None if all test rows have answers."""
    if MARGIN not in test.scores:
        return None
    tuned = None if validation is None else tuned_threshold(validation.rows.scores)
    return 0.0 if tuned is None else tuned


def _score(rows: RowMeasures, part: Sequence[int]) -> AnswerScore | None:
    if not part:
        return None
    values = {name: math.fsum(rows.scores[name][row] for row in part) / len(part) for name in ("exact_match", "f1")}
    return AnswerScore(rows=len(part), **values)
