"""An adapter that finds entities, as an MLflow model.

MLflow stores this file with ``adapter_model.py`` and ``entity_words.py``, and runs them without this project.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import mlflow

if TYPE_CHECKING or __name__.startswith("orchestrator."):
    from orchestrator.objective.entities import entity_words
    from orchestrator.tracking.logged_models import adapter_model
else:
    try:  # beside a stored model
        import adapter_model
        import entity_words
    except ModuleNotFoundError:  # MLflow runs the file once when it stores the model
        from orchestrator.objective.entities import entity_words
        from orchestrator.tracking.logged_models import adapter_model


class Entity(TypedDict):
    """An entity of a text: its characters, its type, and the mean probability of the tags of its words."""

    text: str
    label: str
    start: int
    end: int
    score: float


class _Part(TypedDict):
    """One window of a text: the number of the text, its input, and the places of the first tokens of its words."""

    text: int
    input_ids: list[int]
    places: list[tuple[int, int]]


class EntityRunner(adapter_model.AdapterRunner):
    """A base model with an adapter that finds entities."""

    def entities(self, texts: Sequence[str], batch_size: int = 32) -> list[list[Entity]]:
        """Return the entities of each text, in order; a text longer than the model's input has several windows.

        Args:
            texts: the texts.
            batch_size: windows per batch.
        """
        words_of = [entity_words.words_of(text) for text in texts]
        tags: list[list[tuple[str, float]]] = [[(entity_words.OUTSIDE, 1.0)] * len(some) for some in words_of]
        for part, found in self._tagged(self._parts(texts, words_of), batch_size):
            for (word, _), tag in zip(part["places"], found, strict=True):
                tags[part["text"]][word] = tag
        return [self._named(text, some, own) for text, some, own in zip(texts, words_of, tags, strict=True)]

    def _parts(self, texts: Sequence[str], words_of: Sequence[Sequence[tuple[int, int]]]) -> list[_Part]:
        """Return the windows of all texts, encoded as in training."""
        whole = self.tokenizer("a", return_special_tokens_mask=True)
        ids, special = whole["input_ids"], whole["special_tokens_mask"]
        first, last = ids[: special.index(0)], ids[len(ids) - special[::-1].index(0) :]
        encoded = self.tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        parts: list[_Part] = []
        for number, (tokens, offsets) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
            firsts = entity_words.first_tokens(words_of[number], offsets)
            for window in entity_words.windows(len(tokens), self.card["max_length"] - len(first) - len(last)):
                places = [
                    (word, len(first) + token - window.start)
                    for word, token in enumerate(firsts)
                    if token is not None and window.first <= token < window.last
                ]
                inner = [*first, *tokens[window.start : window.stop], *last]
                parts.append(_Part(text=number, input_ids=inner, places=places))
        return parts

    def _tagged(self, parts: Sequence[_Part], batch_size: int) -> list[tuple[_Part, list[tuple[str, float]]]]:
        """Return each window with the tag of each of its words, and its probability."""
        import torch

        ordered = sorted(parts, key=lambda part: len(part["input_ids"]))
        left = self.card.get("padding_side", "right") == "left"
        size, found = 1 if self.one_by_one else batch_size, []
        for at in range(0, len(ordered), size):
            batch = ordered[at : at + size]
            longest = len(batch[-1]["input_ids"])
            rows = {"input_ids": [part["input_ids"] for part in batch]}
            encoded = self.tokenizer.pad(rows, padding_side="left" if left else "right", return_tensors="pt")
            with torch.inference_mode():
                probabilities_BTC = self.model(**encoded.to(self.device)).logits.float().softmax(dim=-1)
            for part, row_TC in zip(batch, probabilities_BTC, strict=True):
                shift = longest - len(part["input_ids"]) if left else 0
                scores, ids = row_TC[[place + shift for _, place in part["places"]]].max(dim=-1)
                tags = [self.labels[tag] for tag in ids.tolist()]
                found.append((part, [*zip(tags, scores.tolist(), strict=True)]))
        return found

    def _named(self, text: str, some: Sequence[tuple[int, int]], tags: Sequence[tuple[str, float]]) -> list[Entity]:
        """Return the entities of one text from the tags of its words."""
        found = []
        for span in entity_words.strict_spans([tag for tag, _ in tags]):
            start, end = some[span.start][0], some[span.end - 1][1]
            scores = [score for _, score in tags[span.start : span.end]]
            score = sum(scores) / len(scores)
            found.append(Entity(text=text[start:end], label=span.label, start=start, end=end, score=score))
        return found

    def _sees_other_rows(self) -> bool:
        """Return whether a window's logits depend on its padding; see the base class."""
        import torch

        side = self.card.get("padding_side", "right")
        rows = [self.tokenizer(text)["input_ids"] for text in ("a b c", "a b c " * 4)]
        with torch.inference_mode():
            alone, beside = (
                self.model(
                    **self.tokenizer.pad({"input_ids": some}, padding_side=side, return_tensors="pt").to(self.device)
                )
                .logits[0]
                .float()
                for some in (rows[:1], rows)
            )
        beside = beside[-len(alone) :] if side == "left" else beside[: len(alone)]
        return not bool((alone - beside).abs().max() <= self.rounding * alone.abs().max())


class EntityModel(adapter_model.AdapterModel):
    """The model for MLflow: a frame with the text column in, one list of entities for each text out."""

    runner: EntityRunner
    runner_class = EntityRunner

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Return a data frame with the column ``entities`` and the index of the input.

        Args:
            context: MLflow's context, unused.
            model_input: a frame with the text column.
            params: unused.

        Raises:
            MlflowException: a row has no text; the message names the row.
        """
        import pandas as pd

        series = adapter_model.frame_column(model_input, self.runner.card.get("text_column", adapter_model.TEXT))
        found = self.runner.entities(adapter_model.cell_texts(series))
        return pd.DataFrame({"entities": found}, index=series.index)


mlflow.models.set_model(EntityModel())
