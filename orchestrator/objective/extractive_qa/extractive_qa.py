"""Base class for extractive question answering: data, windows, loss and predictions.

The label of a token is a sum of the bits ``CONTEXT``, ``START``, ``END`` and ``NO_ANSWER``; −100 at padding. The logits
of a token are those of the start and of the end of the answer. B: windows, T: tokens.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.assets.data import read_table
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.core.metric import Direction
from orchestrator.objective.extractive_qa.answer_columns import AnswerColumns, LocatedAnswers, squad_file
from orchestrator.objective.extractive_qa.answer_spans import RowAnswers, Window, WindowSpans, best_spans, join, windows
from orchestrator.objective.padding import IGNORED, pad
from orchestrator.objective.protocol import Example, Head, Splits
from orchestrator.objective.rows.converted import Converted, converted, row_parts, values_in_parts
from orchestrator.objective.rows.slice_columns import kept_names
from orchestrator.objective.rows.text_pairs import PAIR
from orchestrator.objective.splits import Splitter, read_splits

if TYPE_CHECKING:
    import datasets
    import torch
    from transformers import PreTrainedTokenizerBase

CONTEXT, START, END, NO_ANSWER = 1, 2, 4, 8
"""Bits of a token's label: it belongs to the context; the answer starts or ends with it; it stands for no answer."""
_OWN = ("question", "context", "answers", "answer", "answer_start", "group")


class ExtractiveQA:
    """Base of objectives with a question, a context, and answers that stand in the context.

    The rows of a split have the columns ``text`` (the question), ``text_pair`` (the context), ``answers``,
    ``answerable`` (``yes`` or ``no``) and ``group``: by default, the questions on a context stay in one split.
    """

    name: str
    head: Head = Head.QUESTION_ANSWERING
    labels: tuple[str, ...] = ("start", "end")
    metrics: Mapping[str, Direction] = {"loss": Direction.MINIMIZE}
    default_metric: str = "val/loss"
    default_model: Source = Source(origin=Origin.PACKAGED, name="minilm")
    default_source: Source
    target: str = "answers"

    def splits(self, plan: DataPlan) -> Splits:
        """Read, clean and split the data; the splits have equal shares of rows without an answer.

        Raises:
            DataError: the data is invalid, or ``data.labels`` is set.
        """
        if plan.labels:
            raise DataError(f"data.labels: {self.name} has answers instead of classes. Remove data.labels")
        splits = read_splits(plan, self.read, Splitter(label="answerable"))
        unsure = sum(sum(values_in_parts(rows, "unsure")) for rows in splits.by_name().values())
        if not unsure:
            return splits
        warning = (
            f"{unsure} answers have no answer_start and occur several times in their context: the first occurrence is "
            "used. Name a column of places: data.columns: {answer_start: COLUMN}."
        )
        return replace(splits, summary=replace(splits.summary, warnings=(*splits.summary.warnings, warning)))

    def read(self, source: Source, columns: Mapping[str, str]) -> "datasets.Dataset":
        """Return the rows of a source; see ``AnswerColumns`` for those of the answers. Rows are converted in parts.

        Raises:
            DataError: a column is missing, or an answer does not stand in its context.
        """
        texts = ("question", "context")
        rows = squad_file(source)
        if rows is None:
            rows = read_table(source, columns, required=texts, text=texts)
        else:
            wrong = [name for name in columns if columns[name] not in rows.column_names]
            if wrong:
                names = ", ".join(rows.column_names)
                raise DataError(f"data.columns.{wrong[0]}: {source} is a file of SQuAD's form with the columns {names}")
            rows = rows.rename_columns({old: new for new, old in columns.items() if old != new})
        answers = AnswerColumns.of(rows.column_names, columns, source)
        kept = {new: old for new, old in kept_names(rows, columns, _OWN).items() if old != "group"}
        found, _ = converted(rows, partial(_converted, rows, kept, answers), "answers", kept)
        return found

    def encode(self, rows: "datasets.Dataset", tokenizer: "PreTrainedTokenizerBase", max_length: int) -> list[Example]:
        """Tokenise the windows of all rows; see ``answer_spans.windows``.

        Training learns the first answer of a row. A window without the whole answer has no answer.

        Raises:
            DataError: the tokenizer knows no characters, or ``max_length`` is too short.
        """
        if len(rows) == 0:
            return []
        questions, contexts = rows["text"][:], rows[PAIR][:]
        answers = [
            LocatedAnswers(texts=tuple(one["text"]), starts=tuple(one["answer_start"])) for one in rows["answers"][:]
        ]
        try:
            found = windows(tokenizer, questions, contexts, max_length)
        except ValueError as error:
            raise DataError(f"objective {self.name}: {error}") from error
        types = any(any(window.token_type_ids or ()) for window in found)
        keys = [_key(*row) for row in zip(questions, contexts, answers, strict=True)]
        numbers: dict[int, int] = {}
        examples: list[Example] = []
        for window in found:
            number = numbers[window.row] = numbers.get(window.row, -1) + 1
            examples.append(
                {
                    "input_ids": window.input_ids,
                    **({"token_type_ids": window.token_type_ids} if types else {}),
                    "labels": _labels(window, answers[window.row]),
                    "window": number,
                    "row": keys[window.row],
                    "offsets": [None if at is None else [*at] for at in window.offsets],
                    "context": contexts[window.row],
                    "answers": [*answers[window.row].texts],
                }
            )
        return examples

    def collate(self, examples: Sequence[Example], tokenizer: "PreTrainedTokenizerBase") -> "dict[str, torch.Tensor]":
        """Pad on the tokenizer's padding side; ``labels_BT`` are sums of bits, −100 at padding."""
        return pad(examples, tokenizer, "left" if tokenizer.padding_side == "left" else "right")

    def losses(
        self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]", label_smoothing: float = 0.0
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return ``(loss_B, ones_B)`` for ``logits_BT2``: the mean of the cross entropies of start and end.

        As in transformers' models for question answering, all tokens of a window are classes. Padding is none: a loss
        must not depend on other windows. A window is one unit.
        """
        import torch

        labels_BT = batch["labels"]
        real_BT = labels_BT != IGNORED
        logits_BT2 = logits.float().masked_fill(~real_BT[..., None], torch.finfo(torch.float32).min)
        logs_BT2 = torch.log_softmax(logits_BT2, dim=1)
        ends_BT2 = torch.stack([labels_BT & START, labels_BT & END], dim=-1).bool() & real_BT[..., None]
        loss_B = -(logs_BT2 * ends_BT2).sum(dim=(1, 2)) / 2
        if label_smoothing:
            tokens_B = real_BT.sum(dim=1)
            uniform_B = -logs_BT2.masked_fill(~real_BT[..., None], 0.0).sum(dim=(1, 2)) / (2 * tokens_B)
            loss_B = (1 - label_smoothing) * loss_B + label_smoothing * uniform_B
        return loss_B, torch.ones_like(loss_B)

    def predictions(self, logits: "torch.Tensor", batch: "Mapping[str, torch.Tensor]") -> list[tuple[Any, Any]]:
        """Return ``(WindowSpans, None)`` per window; ``join`` adds the reference."""
        labels_BT = batch["labels"]
        real_BT = labels_BT != IGNORED
        no_answer_B = (((labels_BT & NO_ANSWER) > 0) & real_BT).int().argmax(dim=1)
        return [(spans, None) for spans in best_spans(logits, ((labels_BT & CONTEXT) > 0) & real_BT, no_answer_B)]

    def join(
        self, examples: Sequence[Example], pairs: Sequence[tuple[WindowSpans, Any]]
    ) -> tuple[RowAnswers, tuple[str, ...]]:
        """Return the answers of a row and its true answers, from the windows of the row.

        Args:
            examples: the row's windows.
            pairs: of ``predictions``, one per window.
        """
        first = examples[0]
        offsets = [example["offsets"] for example in examples]
        return join(first["context"], offsets, [spans for spans, _ in pairs]), tuple(first["answers"])

    def row_answers(self, pairs: Sequence[tuple[RowAnswers, Any]]) -> list[str]:
        """Return the best answer of each row, whatever the score of no answer."""
        return [answers.text(None) for answers, _ in pairs]

    def true_answers(self, rows: "datasets.Dataset") -> list[list[str]]:
        """Return the true answers of each row; an empty list for a row without an answer."""
        return [[*stored["text"]] for stored in rows["answers"][:]]

    def baseline(self, splits: Splits) -> Mapping[str, float] | None:  # noqa: ARG002  (the protocol's)
        """Return None; a task may override this."""
        return None


def _converted(rows: "datasets.Dataset", kept: Mapping[str, str], answers: AnswerColumns) -> Iterator[Converted]:
    import pyarrow as pa

    names = [name for name in ("question", "context", "group", *answers.names) if name in rows.column_names]
    kinds = {"text": pa.list_(pa.string()), "answer_start": pa.list_(pa.int64())}
    for part in row_parts(rows, names, kept):
        found, contexts = answers.locate(part.columns, part.first), part.columns["context"]
        groups = part.columns.get("group", [None] * len(contexts))
        stored = [{"text": [*each.texts], "answer_start": [*each.starts]} for each in found]
        named = [
            str(group) if group not in {None, ""} else _name_of(context or "")
            for group, context in zip(groups, contexts, strict=True)
        ]
        table: dict[str, pa.Array] = {
            **part.kept,
            "text": pa.array(part.columns["question"], pa.string()),
            PAIR: pa.array(contexts, pa.string()),
            "answers": pa.array(stored, pa.struct(kinds)),
            "answerable": pa.array(["yes" if each.texts else "no" for each in found], pa.string()),
            "unsure": pa.array([each.unsure for each in found], pa.bool_()),
            "group": pa.array(named, pa.string()),
        }
        yield Converted(table=pa.table(table))


def _key(question: str, context: str, answers: LocatedAnswers) -> str:
    """Return a digest of a row, which does not depend on its windows."""
    content = json.dumps([question, context, answers.texts, answers.starts])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _labels(window: Window, answers: LocatedAnswers) -> list[int]:
    """Return the labels of a window's tokens."""
    labels = [0 if at is None else CONTEXT for at in window.offsets]
    labels[window.no_answer] |= NO_ANSWER
    first, last = _tokens_of(window, answers)
    labels[first] |= START
    labels[last] |= END
    return labels


def _tokens_of(window: Window, answers: LocatedAnswers) -> tuple[int, int]:
    """Return the first and the last token of the answer; the token for no answer twice if it is not in the window."""
    absent = (window.no_answer, window.no_answer)
    tokens = [(token, at) for token, at in enumerate(window.offsets) if at is not None and at[0] < at[1]]
    if not answers.texts or not tokens:
        return absent
    start, end = answers.starts[0], answers.starts[0] + len(answers.texts[0])
    inside = [token for token, (first, last) in tokens if first < end and last > start]
    whole = tokens[0][1][0] <= start and end <= tokens[-1][1][1]
    return (inside[0], inside[-1]) if whole and inside else absent


def _name_of(context: str) -> str:
    """Return a short name of a context, different for different contexts."""
    return f"{context[:40].strip()} {hashlib.sha256(context.encode()).hexdigest()[:8]}"
