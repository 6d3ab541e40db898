"""Base class for entities in texts: data, windows, and predictions. The loss is that of ``TokenLabels``."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.core.trials.row_measures import TextSpan
from orchestrator.objective.entities.entity_rows import TypeNames, read_entities, stored_spans
from orchestrator.objective.entities.entity_words import (
    OUTSIDE,
    first_tokens,
    strict_spans,
    windows,
    word_spans,
    words_of,
)
from orchestrator.objective.entities.tags import tag_names, tags_of
from orchestrator.objective.labels.counts import errors_name_shift_set
from orchestrator.objective.labels.keys import absent_keys
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import Example, Splits
from orchestrator.objective.rows.converted import values_in_parts
from orchestrator.objective.splits import Splitter, read_splits
from orchestrator.objective.token_labels import TokenLabels

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase


class TokenClassification(TokenLabels):
    """Base of objectives with entities in a text; the model's classes are tags in IOB2.

    Rows have the columns ``text`` and ``entities``; see ``entity_rows``. The first token of a word has the word's tag;
    other tokens have no label. A text longer than ``max_length`` has overlapping windows; see ``entity_words.windows``.
    """

    name: str
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_model: Source = Source(origin=Origin.PACKAGED, name="minilm")
    default_source: Source
    target: str = "entities"

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data; the types of entities are found in it.

        Raises:
            DataError: the data is invalid, or train has no entity.
        """
        mapping = TypeNames(names=plan.labels)
        splits = read_splits(plan, partial(self._read, plan, mapping), Splitter(label="entities", stratify=False))
        counts = {name: _counts(rows) for name, rows in splits.by_name().items()}
        found = sorted({name for by_type in counts.values() for name in by_type})
        if not counts["train"]:
            raise DataError(f"{plan.source}: the {len(splits.train)} training rows have no entity. Check data.columns")
        stated = self.labels or plan.classes or tag_names(found)
        types = [name.removeprefix("B-") for name in stated if name.startswith("B-")]
        unknown = [name for name in found if name not in types]
        if unknown:
            raise DataError(
                f"{plan.source}: the data has entities of the types {', '.join(unknown)}; known types are "
                f"{', '.join(types)}. Map or exclude them: data.labels: {{{unknown[0]}: TYPE or null}}"
            )
        absent = absent_keys([*plan.labels], mapping.types | mapping.tags, shown=mapping.types)
        summary = replace(
            splits.summary,
            classes=tuple(stated),
            class_order="O, then types by name",
            label_counts={name: {kind: by_type[kind] for kind in types} for name, by_type in counts.items()},
            warnings=(*splits.summary.warnings, *absent, *_warnings(splits, counts, types)),
        )
        return replace(splits, summary=summary)

    def _read(
        self, plan: DataPlan, mapping: TypeNames, source: Source, columns: Mapping[str, str]
    ) -> "datasets.Dataset":
        shift = next((name for name in plan.shift if plan.shift[name] is source), "")
        with errors_name_shift_set(shift):
            return read_entities(source, columns, mapping)

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise the texts; a long text has several windows, numbered by ``window``.

        Raises:
            DataError: the tokenizer cannot tell the characters of its tokens, or ``max_length`` is too short.
        """
        if not tokenizer.is_fast:
            raise DataError(
                f"objective {self.name}: the model has no fast tokenizer, which words need. Name another model"
            )
        if len(rows) == 0:
            return []
        whole = tokenizer("a", return_special_tokens_mask=True)
        ids, special = whole["input_ids"], whole["special_tokens_mask"]
        first, last = ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]
        capacity = max_length - len(first) - len(last)
        if capacity < 2:
            raise DataError(f"max_length: {len(first) + len(last) + 2} tokens are needed at least, got {max_length}")
        texts = rows["text"][:]
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        tag_ids = {name: number for number, name in enumerate(self.labels)}
        examples: list[Example] = []
        parts = zip(texts, rows["entities"][:], encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for text, entities, tokens, offsets in parts:
            labels = [IGNORED] * len(tokens)
            words = words_of(text)
            tags = tags_of(word_spans(stored_spans(entities), words), len(words))
            word_at: dict[int, list[int]] = {}
            for token, tag, word in zip(first_tokens(words, offsets), tags, words, strict=True):
                if token is not None:
                    labels[token] = tag_ids[tag]
                    word_at[token] = [*word]
            for number, window in enumerate(windows(len(tokens), capacity)):
                own = range(window.first, window.last)
                inner = [labels[place] if place in own else IGNORED for place in range(window.start, window.stop)]
                example = {
                    "input_ids": [*first, *tokens[window.start : window.stop], *last],
                    "labels": [*[IGNORED] * len(first), *inner, *[IGNORED] * len(last)],
                    "words": [word_at[place] for place in own if place in word_at],
                }
                examples.append(example | ({"window": number} if number else {}))
        return examples

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return the predicted and the true tags of each example's labelled words, as ids."""
        predicted_BT, labels_BT = logits.argmax(dim=-1), batch["labels"]
        labelled_BT = labels_BT != IGNORED
        return [
            (predicted_T[labelled_T].tolist(), labels_T[labelled_T].tolist())
            for predicted_T, labels_T, labelled_T in zip(predicted_BT, labels_BT, labelled_BT, strict=True)
        ]

    def join(self, examples: Sequence[Example], pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:  # noqa: ARG002
        """Return the tags of a text from those of its windows."""
        return [tag for tags, _ in pairs for tag in tags], [tag for _, tags in pairs for tag in tags]

    def row_spans(self, examples: Sequence[Example], pair: tuple[Any, Any]) -> tuple[list[TextSpan], list[TextSpan]]:
        """Return the predicted and the true entities of a row in characters, as the scores count them.

        Args:
            examples: the row's windows; ``words`` has the characters of each labelled word.
            pair: of ``join``.
        """
        words = [word for example in examples for word in example.get("words", ())]
        if len(words) != len(pair[0]):  # a subclass encodes rows itself, without the places of their words
            return [], []
        predicted, true = (
            [
                (words[span.start][0], words[span.end - 1][1], span.label)
                for span in strict_spans([self.labels[tag] for tag in tags])
            ]
            for tags in pair
        )
        return predicted, true

    def measure(self, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:  # noqa: ARG002  (the protocol's)
        """Return no metrics; a task overrides this for its ``metrics`` other than the loss."""
        return {}

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:  # noqa: ARG002  (the protocol's)
        """Return None; a task may override this with a classical baseline."""
        return None


def tagged_words(rows: "datasets.Dataset") -> Iterator[tuple[list[str], list[str]]]:
    """Yield the words and the IOB2 tags of each row."""
    for text, entities in zip(values_in_parts(rows, "text"), values_in_parts(rows, "entities"), strict=True):
        words = words_of(text)
        tags = tags_of(word_spans(stored_spans(entities), words), len(words))
        yield [text[start:end] for start, end in words], tags


def _counts(rows: "datasets.Dataset") -> Counter[str]:
    return Counter(span.label for stored in values_in_parts(rows, "entities") for span in stored_spans(stored))


def _warnings(splits: Splits, counts: Mapping[str, Counter[str]], types: Sequence[str]) -> list[str]:
    warnings = []
    for split, effect in (("train", "no trial can learn them"), ("validation", "its metrics do not cover them")):
        absent = [name for name in types if not counts[split][name]]
        if absent:
            warnings.append(f"{split} has no entities of {', '.join(absent)}: {effect}.")
    inexact = sum(sum(values_in_parts(rows, "inexact")) for rows in splits.by_name().values())
    if inexact:
        total = sum(counts[name].total() for name in counts)
        warnings.append(
            f"{inexact} of {total} entities begin or end inside a word: training and scores take the whole words "
            f"(a word is a run of letters and digits, or another sign). Tags other than {OUTSIDE} mark whole words."
        )
    return warnings
