"""The baseline of extractive answers: the words near those of the question, without a model.

The sentence with the highest overlap with the question is chosen: the sum of the inverse document frequencies of their
common words. Three rivals answer from it, and the one with the highest validation F1 is measured:

- ``sentence``: the whole sentence;
- ``span``: the median number of words of a training answer, without words of the question, nearest to them
  (distance-based, after Richardson et al. 2013);
- ``nothing``: never an answer, for data with unanswerable rows.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.evaluation.extractive_qa.squad import METRICS, normalise
from orchestrator.objective.protocol import Splits
from orchestrator.objective.rows.converted import values_in_parts
from orchestrator.objective.rows.text_pairs import PAIR
from orchestrator.objective.splits.draw import keyed_hash

if TYPE_CHECKING:
    import datasets

_WORD = re.compile(r"\S+")
_Rival: TypeAlias = Callable[[str, str], str]
"""Returns the answer to a question in a context."""


def overlap_baseline(splits: Splits) -> dict[str, float]:
    """Return ``val/f1``, ``test/exact_match`` … of the best of the three rivals; the result is deterministic.

    Args:
        splits: rows of ``ExtractiveQA``.
    """
    rivals = _rivals(splits.train)
    validation = {name: _measured(rival, splits.validation) for name, rival in rivals.items()}
    best = max(validation, key=lambda name: validation[name]["f1"])
    others = {"test": splits.test, **{f"shift/{name}": rows for name, rows in splits.shift.items()}}
    measured = {"val": validation[best]}
    measured |= {name: _measured(rivals[best], rows) for name, rows in others.items() if len(rows)}
    return {f"{split}/{metric}": value for split, values in measured.items() for metric, value in values.items()}


def _rivals(train: "datasets.Dataset") -> dict[str, _Rival]:
    documents, contexts = Counter[str](), set[bytes]()
    for context in values_in_parts(train, PAIR):
        name = keyed_hash(0, context)
        if name not in contexts:  # many questions may have one context
            contexts.add(name)
            documents.update(_words(context))
    lengths = [len(answers["text"][0].split()) for answers in values_in_parts(train, "answers") if answers["text"]]
    size = max(1, round(median(lengths))) if lengths else 1

    def weight(word: str) -> float:
        return math.log((1 + len(contexts)) / (1 + documents[word])) + 1

    def sentence(question: str, context: str) -> str:
        asked = _words(question)
        sentences = sentences_of(context)
        return max(sentences, key=lambda one: sum(weight(word) for word in sorted(asked & _words(one))))

    return {
        "span": lambda question, context: _nearest(question, sentence(question, context), size),
        "sentence": sentence,
        "nothing": lambda _question, _context: "",
    }


def sentences_of(context: str) -> list[str]:
    """Return the sentences of a text: they end at a line's end, or at ``.``, ``!`` or ``?`` before a space."""
    found = [one.strip() for one in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n+", context)]
    return [one for one in found if one] or [context]


def _words(text: str) -> set[str]:
    return {*normalise(text).split()}


def _nearest(question: str, sentence: str, size: int) -> str:
    """Return the ``size`` words of a sentence nearest to the question's, and none of them if possible."""
    words = [*_WORD.finditer(sentence)]
    asked = _words(question)
    places = [place for place, word in enumerate(words) if _words(word[0]) & asked]
    unlikely = [not _words(word[0]) - asked for word in words]  # also articles and punctuation

    def cost(start: int) -> tuple[int, float, int]:
        inside = range(start, min(start + size, len(words)))
        distance = sum(min((abs(place - word) for place in places), default=0) for word in inside)
        return sum(unlikely[place] for place in inside), distance, start

    start = min(range(max(1, len(words) - size + 1)), key=cost, default=0)
    chosen = words[start : start + size]
    return sentence[chosen[0].start() : chosen[-1].end()] if chosen else sentence


def _measured(rival: _Rival, rows: "datasets.Dataset") -> Mapping[str, float]:
    asked = zip(values_in_parts(rows, "text"), values_in_parts(rows, PAIR), strict=True)
    answers = [rival(question, context) for question, context in asked]
    return _means(answers, [each["text"] for each in values_in_parts(rows, "answers")])


def _means(answers: Sequence[str], true: Sequence[Sequence[str]]) -> dict[str, float]:
    return {
        name: math.fsum(score(answer, one) for answer, one in zip(answers, true, strict=True)) / len(answers)
        for name, score in METRICS.items()
    }
