"""Metrics of entities, and the baseline: the most frequent tag of each word.

An entity is right if its words and its type are. Precision, recall and F1 over all entities (micro) and the mean F1 of
the types (macro) are those of seqeval in its mode ``strict`` with the scheme IOB2, and 0 where they divide by 0.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.core.metric import Direction
from orchestrator.evaluation.entities.counts import COUNTS
from orchestrator.objective.entities.entity_words import OUTSIDE, strict_spans
from orchestrator.objective.entities.token_classification import tagged_words
from orchestrator.objective.protocol import Splits

ENTITIES: Final[Mapping[str, Direction]] = {
    "loss": Direction.MINIMIZE,
    "precision": Direction.MAXIMIZE,
    "recall": Direction.MAXIMIZE,
    "f1": Direction.MAXIMIZE,
    "macro_f1": Direction.MAXIMIZE,
}
"""Metrics with their directions; ``measure`` adds ``f1_TYPE`` for each type that is true or predicted."""

TagPair = tuple[Sequence[str], Sequence[str]]
"""The predicted and the true tags of a row's words."""


def entity_metrics(pairs: Sequence[TagPair]) -> dict[str, float]:
    """Return the metrics of all rows."""
    by_type: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for predicted, true in pairs:
        ours, theirs = {*strict_spans(predicted)}, {*strict_spans(true)}
        for place, spans in enumerate((ours & theirs, ours, theirs)):
            for span in spans:
                by_type[span.label][place] += 1
    right, predicted_all, true_all = (sum(counts[place] for counts in by_type.values()) for place in range(3))
    scores = {name: f1_of(*counts) for name, counts in sorted(by_type.items())}
    return {
        "precision": right / max(1, predicted_all),
        "recall": right / max(1, true_all),
        "f1": f1_of(right, predicted_all, true_all),
        "macro_f1": sum(scores.values()) / max(1, len(scores)),
        **{f"f1_{name}": value for name, value in scores.items()},
    }


def entity_counts(pairs: Sequence[TagPair]) -> dict[str, list[float]]:
    """Return the right, predicted and true entities of each row, by the names in ``COUNTS``; in all and by type."""
    spans_of = [({*strict_spans(predicted)}, {*strict_spans(true)}) for predicted, true in pairs]
    types = sorted({span.label for ours, theirs in spans_of for span in (*ours, *theirs)})
    names = [*COUNTS, *(f"{name}/{kind}" for kind in types for name in COUNTS)]
    found = {name: [0.0] * len(pairs) for name in names}
    for row, (ours, theirs) in enumerate(spans_of):
        for name, spans in zip(COUNTS, (ours & theirs, ours, theirs), strict=True):
            found[name][row] = float(len(spans))
            for span in spans:
                found[f"{name}/{span.label}"][row] += 1.0
    return found


def f1_of(right: float, predicted: float, true: float) -> float:
    """Return 2 · right / (predicted + true), and 0 without any entity."""
    return 2 * right / (predicted + true) if predicted + true else 0.0


def word_baseline(splits: Splits) -> dict[str, float]:
    """Return the metrics of the most frequent tag of each word in train; other words are outside of entities."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for words, tags in tagged_words(splits.train):
        for word, tag in zip(words, tags, strict=True):
            seen[word][tag] += 1
    tag_of = {word: min(counts, key=lambda tag: (-counts[tag], tag)) for word, counts in seen.items()}
    found: dict[str, float] = {}
    parts = {"val" if name == "validation" else name: rows for name, rows in splits.by_name().items()}
    for name, rows in parts.items():
        if name != "train" and len(rows):
            pairs = [([tag_of.get(word, OUTSIDE) for word in words], tags) for words, tags in tagged_words(rows)]
            found |= {
                f"{name}/{metric}": value for metric, value in entity_metrics(pairs).items() if metric in ENTITIES
            }
    return found
