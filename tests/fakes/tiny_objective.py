"""Objectives over a few dozen generated rows, without files and downloads."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import datasets

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.metric import Direction
from orchestrator.core.tasks.generation import GENERATION_METRICS
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.language_modelling import CausalLM
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.preference.objective import PreferencePairs
from orchestrator.objective.protocol import Example, Splits
from orchestrator.objective.sequence_to_sequence import Seq2SeqLM
from orchestrator.objective.token_labels import TokenLabels

_GOOD = ("good", "great", "fine", "nice", "happy")
_BAD = ("bad", "awful", "poor", "terrible", "sad")
_FILLER = ("the", "film", "plot", "acting", "music", "was", "a", "very", "and", "is")


def tiny_rows(count: int, seed: int) -> datasets.Dataset:
    """Rows of 3 to 14 words with a ``label``, determined by one word, and a ``headline``."""
    draw = random.Random(seed)
    rows: dict[str, list[Any]] = {"text": [], "label": [], "headline": []}
    for _ in range(count):
        label = draw.randrange(2)
        words = draw.choices(_FILLER, k=draw.randrange(2, 14))
        words.insert(draw.randrange(len(words) + 1), draw.choice(_GOOD if label else _BAD))
        rows["text"].append(" ".join(words))
        rows["label"].append(label)
        rows["headline"].append(" ".join(words[: draw.randrange(1, 4)]))
    return datasets.Dataset.from_dict(rows)


def tiny_splits(plan: DataPlan) -> Splits:
    """Splits of the plan's sizes (40 training rows by default), and its shift sets."""
    return Splits(
        train=tiny_rows(plan.train or 40, 1),
        validation=tiny_rows(plan.validation, 2),
        test=tiny_rows(plan.test, 3),
        shift={name: tiny_rows(plan.shift_rows, 4 + index) for index, name in enumerate(plan.shift)},
    )


class TinyClassification(TextClassification):
    """Classify as good or bad."""

    name = "tiny-classification"
    labels: tuple[str, ...] = ("bad", "good")
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE, "accuracy": Direction.MAXIMIZE}
    default_source = Source(origin=Origin.LOCAL, name="made up")

    def splits(self, plan: DataPlan) -> Splits:
        return tiny_splits(plan)

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
        return {"accuracy": sum(predicted == true for predicted, true in pairs) / len(pairs)}


class TinyTokens(TokenLabels, TinyClassification):
    """Mark the words that decide; filler words up to the third are not labelled."""

    name = "tiny-tokens"
    labels: tuple[str, ...] = ("other", "bad", "good")

    def encode(self, rows: datasets.Dataset, tokenizer: Any, max_length: int) -> list[Example]:
        classes = {word: 1 + (word in _GOOD) for word in (*_GOOD, *_BAD)}
        examples = []
        for text in rows["text"][:]:
            ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
            words = tokenizer.convert_ids_to_tokens(ids)
            labels = [classes.get(word, 0 if place > 3 else IGNORED) for place, word in enumerate(words)]
            examples.append({"input_ids": ids, "labels": labels})
        return examples

    def predictions(self, logits: Any, batch: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        rights = (logits.argmax(-1) == batch["labels"]).sum(1).tolist()
        return [*zip(rights, (batch["labels"] != IGNORED).sum(1).tolist(), strict=True)]

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
        return {"accuracy": sum(right for right, _ in pairs) / max(1, sum(tokens for _, tokens in pairs))}


class TinyCausal(CausalLM):
    """Generate the text's first words with a causal model."""

    name = "tiny-causal"
    target = "headline"
    generation_metrics = GENERATION_METRICS
    default_source = Source(origin=Origin.LOCAL, name="made up")

    def splits(self, plan: DataPlan) -> Splits:
        return tiny_splits(plan)


class TinyPreference(PreferencePairs):
    """Prefer the text's first words to the same words in reverse order, and more of them."""

    name = "tiny-preference"
    prompt = "{text} :"
    default_source = Source(origin=Origin.LOCAL, name="made up")

    def splits(self, plan: DataPlan) -> Splits:
        made = tiny_splits(plan)
        train, validation, test = map(_with_answers, (made.train, made.validation, made.test))
        return replace(made, train=train, validation=validation, test=test)


def _with_answers(rows: datasets.Dataset) -> datasets.Dataset:
    rejected = [" ".join(reversed(text.split()[:5])) for text in rows["text"]]
    table = {"text": rows["text"][:], "chosen": rows["headline"][:], "rejected": rejected}
    return datasets.Dataset.from_dict(table)


class TinySeq2Seq(Seq2SeqLM):
    """Generate the text's first words with an encoder-decoder."""

    name = "tiny-seq2seq"
    target = "headline"
    generation_metrics = GENERATION_METRICS
    prompt = "summarise {text}"
    default_source = Source(origin=Origin.LOCAL, name="made up")

    def splits(self, plan: DataPlan) -> Splits:
        return tiny_splits(plan)
