"""Scores of answers by row, and the threshold of no answer.

In a split with unanswerable rows, a row has no predicted answer if its margin exceeds a threshold: the score of no
answer less that of the best answer. ``exact_match``, ``f1`` and ``character_f1`` use the threshold 0, the more probable
choice. The threshold with the highest F1 on the validation rows is found after the search, as in SQuAD's script
(``find_best_thresh``). The adapter's card holds it and ``predict`` uses it. In a split of answerable rows alone, every
row has a predicted answer.
"""

import math
from collections.abc import Mapping, Sequence

from orchestrator.evaluation.extractive_qa.squad import METRICS, AnswerPair

MARGIN = "no_answer_margin"
"""Name of the row value with the margin; only in splits with unanswerable rows."""
ANSWERED = "answered/"
"""Prefix of the scores of the best answer, whatever the margin."""
ABSENT = "absent/"
"""Prefix of the scores of no answer."""
TUNED = "tuned_"
"""Prefix of metrics at the threshold tuned on the validation rows."""


def row_scores(pairs: Sequence[AnswerPair]) -> dict[str, list[float]]:
    """Return the metrics of each row by name; with unanswerable rows also the values for other thresholds.

    Args:
        pairs: of all rows of a split; at least one.
    """
    may_be_absent = any(not true for _, true in pairs)
    threshold = 0.0 if may_be_absent else None
    scores = {
        name: [score(answers.text(threshold), true) for answers, true in pairs] for name, score in METRICS.items()
    }
    if not may_be_absent:
        return scores
    for name, score in METRICS.items():
        scores[ANSWERED + name] = [score(answers.text(None), true) for answers, true in pairs]
        scores[ABSENT + name] = [score("", true) for _, true in pairs]
    return scores | {MARGIN: [answers.margin for answers, _ in pairs]}


def answer_metrics(pairs: Sequence[AnswerPair]) -> dict[str, float]:
    """Return ``exact_match``, ``f1`` and ``character_f1`` of a split, the means over its rows, in [0, 1]."""
    scores = row_scores(pairs)
    return {name: math.fsum(scores[name]) / len(pairs) for name in METRICS}


def tuned_threshold(scores: Mapping[str, Sequence[float]]) -> float | None:
    """Return the threshold with the highest F1; of equal ones, the smallest. None without unanswerable rows.

    The threshold is the margin of a row, or 1 less than the lowest one if no answer at all is best.

    Args:
        scores: scores of the validation rows, from ``row_scores``.
    """
    if MARGIN not in scores:
        return None
    margins, answered, absent = scores[MARGIN], scores[f"{ANSWERED}f1"], scores[f"{ABSENT}f1"]
    order = sorted(range(len(margins)), key=margins.__getitem__)
    total = best = math.fsum(absent)
    threshold = min(filter(math.isfinite, margins), default=1.0) - 1.0
    for place, row in enumerate(order):
        total += answered[row] - absent[row]
        tied = place + 1 < len(order) and margins[order[place + 1]] == margins[row]
        if total > best + 1e-9 and not tied and math.isfinite(margins[row]):
            best, threshold = total, margins[row]
    return threshold


def scores_at(scores: Mapping[str, Sequence[float]], threshold: float) -> dict[str, list[float]]:
    """Return the metrics of each row by name at a threshold.

    Args:
        scores: scores of the rows, from ``row_scores``, with unanswerable rows.
        threshold: largest margin of an answered row.
    """
    prefixes = [ABSENT if margin > threshold else ANSWERED for margin in scores[MARGIN]]
    return {name: [scores[prefix + name][row] for row, prefix in enumerate(prefixes)] for name in METRICS}


def tuned_metrics(scores: Mapping[str, Sequence[float]], threshold: float) -> dict[str, float]:
    """Return ``tuned_exact_match``, ``tuned_f1`` …: the metrics of a split at a threshold; {} if all have an answer."""
    if MARGIN not in scores:
        return {}
    return {TUNED + name: math.fsum(row) / len(row) for name, row in scores_at(scores, threshold).items()}
