"""Exact match and F1 of answers as in SQuAD's official scripts (versions 1.1 and 2.0), from 0 to 1 instead of 100.

Before a comparison both texts are normalised: lower case; the characters of ``string.punctuation`` removed; the words
"a", "an" and "the" removed; white space made one space. F1 counts words between spaces. With several true answers the
best score counts. True answers that normalise to nothing count only if there is no other one.

| metric | unit | for |
|---|---|---|
| ``exact_match`` | the whole normalised text | all |
| ``f1`` | words between spaces | languages with spaces |
| ``character_f1`` | letters, marks and digits, without case; articles stay | Japanese, Chinese, Thai … |

Source: https://rajpurkar.github.io/SQuAD-explorer, ``evaluate-v2.0.py``; Rajpurkar et al. 2016 and 2018.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from orchestrator.core.metric import Direction
from orchestrator.objective.extractive_qa.answer_spans import RowAnswers

AnswerPair: TypeAlias = tuple[RowAnswers, Sequence[str]]
"""The predicted answers of a row, and its true answers; none: the row has no answer."""

EXTRACTIVE_QA: Mapping[str, Direction] = {
    "loss": Direction.MINIMIZE,
    "exact_match": Direction.MAXIMIZE,
    "f1": Direction.MAXIMIZE,
    "character_f1": Direction.MAXIMIZE,
}
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Return an answer in the form compared by SQuAD's scripts."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(predicted: str, true: Sequence[str]) -> float:
    """Return 1.0 if the normalised answer equals a true one, else 0.0; without true answers, 1.0 for no text."""
    return max(float(normalise(predicted) == normalise(one)) for one in _references(true))


def f1(predicted: str, true: Sequence[str]) -> float:
    """Return the highest F1 over words between the normalised answer and a true one, in [0, 1]."""
    return _best_f1(predicted, true, lambda text: normalise(text).split())


def character_f1(predicted: str, true: Sequence[str]) -> float:
    """Return the highest F1 over letters, marks and digits between the answer and a true one, in [0, 1]."""
    return _best_f1(predicted, true, _characters)


METRICS: Mapping[str, Callable[[str, Sequence[str]], float]] = {
    "exact_match": exact_match,
    "f1": f1,
    "character_f1": character_f1,
}
"""Metrics of one row by name; the metric of a split is their mean."""


def _references(true: Sequence[str]) -> Sequence[str]:
    return [one for one in true if normalise(one)] or [""]


def _characters(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [one for one in folded if unicodedata.category(one)[0] in "LMN"]


def _best_f1(predicted: str, true: Sequence[str], units: Callable[[str], list[str]]) -> float:
    given = units(predicted)
    return max(_f1(given, units(one)) for one in _references(true))


def _f1(given: Sequence[str], true: Sequence[str]) -> float:
    if not given or not true:
        return float(given == true)
    same = (Counter(given) & Counter(true)).total()
    return 2 * same / (len(given) + len(true))  # 0 without a common unit
