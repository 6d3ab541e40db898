"""An adapter for extractive question answering as an MLflow model.

MLflow stores this file with ``adapter_model.py`` and ``answer_spans.py``, and runs them without this project.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import mlflow

if TYPE_CHECKING:
    import torch

if TYPE_CHECKING or __name__.startswith("orchestrator."):
    from orchestrator.objective.extractive_qa import answer_spans
    from orchestrator.tracking.logged_models import adapter_model
else:
    try:  # beside a stored model
        import adapter_model
        import answer_spans
    except ModuleNotFoundError:  # MLflow reads this file when it logs a model
        from orchestrator.objective.extractive_qa import answer_spans
        from orchestrator.tracking.logged_models import adapter_model

SHOWN = 5
"""Number of answers per row, if the caller sets no other number."""


class AnswerRunner(adapter_model.AdapterRunner):
    """A base model with an adapter that finds the answer to a question in a context."""

    def answers(
        self, questions: Sequence[str], contexts: Sequence[str], batch_size: int = 32, shown: int = SHOWN
    ) -> list[answer_spans.AnswerRecord]:
        """Return one answer per row. A context longer than the model's input has several windows.

        Args:
            questions: one per row.
            contexts: one per row.
            batch_size: windows per batch.
            shown: most answers per row in ``answers``.
        """
        windows = answer_spans.windows(self.tokenizer, questions, contexts, self.card["max_length"])
        alone = self.one_by_one or self._ends_within([*questions, *contexts])
        order = sorted(range(len(windows)), key=lambda place: len(windows[place].input_ids))
        found: dict[int, answer_spans.WindowSpans] = {}
        size = 1 if alone else batch_size
        for places in (order[start : start + size] for start in range(0, len(order), size)):
            found |= zip(places, self._spans([windows[place] for place in places]), strict=True)
        places_of: list[list[int]] = [[] for _ in questions]
        for place, window in enumerate(windows):
            places_of[window.row].append(place)
        threshold = self.card.get("no_answer_threshold")
        return [
            answer_spans.answer_record(
                answer_spans.join(
                    context, [windows[place].offsets for place in places], [found[place] for place in places]
                ),
                threshold,
                shown,
            )
            for context, places in zip(contexts, places_of, strict=True)
        ]

    def _spans(self, windows: Sequence[answer_spans.Window]) -> list[answer_spans.WindowSpans]:
        """Return the best spans of each window, computed as one batch."""
        import torch

        side = self.card.get("padding_side", "right")
        logits_BT2 = self._logits(windows)
        tokens = logits_BT2.shape[1]
        firsts = [tokens - len(window.input_ids) if side == "left" else 0 for window in windows]
        context_BT = torch.zeros(logits_BT2.shape[:2], dtype=torch.bool)
        for row, (window, first) in enumerate(zip(windows, firsts, strict=True)):
            marks = torch.tensor([at is not None for at in window.offsets])
            context_BT[row, first : first + len(marks)] = marks
        no_answer_B = torch.tensor([window.no_answer + first for window, first in zip(windows, firsts, strict=True)])
        found = answer_spans.best_spans(logits_BT2, context_BT.to(self.device), no_answer_B.to(self.device))
        return [
            (absent, [(score, one - first, last - first) for score, one, last in best])
            for first, (absent, best) in zip(firsts, found, strict=True)
        ]

    def _logits(self, windows: Sequence[answer_spans.Window]) -> "torch.Tensor":
        """Return the logits of start and end of each token, padded to the longest window."""
        import torch

        rows = {"input_ids": [[*window.input_ids] for window in windows]}
        if any(any(window.token_type_ids or ()) for window in windows):  # absent in training too
            rows["token_type_ids"] = [[*(window.token_type_ids or ())] for window in windows]
        side = self.card.get("padding_side", "right")
        batch = self.tokenizer.pad(rows, padding_side=side, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            output = self.model(**batch)
        return torch.stack([output.start_logits, output.end_logits], dim=-1)

    def _sees_other_rows(self) -> bool:
        """Return whether a window's logits depend on its padding; see the base class."""
        both = answer_spans.windows(self.tokenizer, ["a b c"] * 2, ["a b c", "a b c " * 4], self.card["max_length"])
        alone, beside = self._logits(both[:1])[0], self._logits(both)[0]
        left = self.card.get("padding_side", "right") == "left"
        beside = beside[-len(alone) :] if left else beside[: len(alone)]
        return not bool((alone - beside).abs().max() <= self.rounding * alone.abs().max())


class AnswerModel(adapter_model.AdapterModel):
    """The model for MLflow: a frame with a question and a context per row in, one answer for each row out.

    ``answer`` is ``context[start:end]``, or empty for no answer; ``score`` is its probability among the best answers;
    ``answers`` lists these with their places.
    """

    runner: AnswerRunner
    runner_class = AnswerRunner

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        """Return a data frame with one row per question, with the index of the input.

        Args:
            context: MLflow's context, unused.
            model_input: a frame with the columns of the questions and the contexts.
            params: ``answers``: most answers per row, at least 1.

        Raises:
            MlflowException: a row has no question or no context (the message names the row), or ``answers`` is below 1.
        """
        import pandas as pd

        card, shown = self.runner.card, (params or {}).get("answers", SHOWN)
        if shown < 1:
            problem = f"answers: at least 1 answer per row is needed, got {shown}"
            raise mlflow.exceptions.MlflowException.invalid_parameter_value(problem)
        questions, contexts = (
            adapter_model.frame_column(model_input, card[name]) for name in ("text_column", "pair_column")
        )
        given = adapter_model.cell_texts(questions), adapter_model.cell_texts(contexts)
        records = self.runner.answers(*given, shown=shown)
        return pd.DataFrame(records, index=questions.index)


mlflow.models.set_model(AnswerModel())
