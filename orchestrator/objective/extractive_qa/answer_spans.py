"""Windows over long contexts, and the best answers in them. B: windows, T: tokens, L: answer lengths.

Logged models contain a copy of this file and run it without this project, so it imports torch alone. Measurement and
prediction compute the same answers by it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypedDict

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

MOST_TOKENS = 30
"""Most tokens of a predicted answer, as in transformers' question answering."""
MOST_ANSWERS = 20
"""Most answers kept per window and per row."""
SHORTEST = 32
"""Smallest ``max_length``: question, special tokens, and enough of the context beside its overlap."""

Span: TypeAlias = tuple[float, int, int]
"""Score of a span (the sum of its two logits), its first token and its last token."""
WindowSpans: TypeAlias = tuple[float, Sequence[Span]]
"""Score of no answer in a window, and its best spans, the best first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Tokens of a question and of a part of its context.

    Attributes:
        row: number of the row.
        input_ids: token ids with special tokens.
        token_type_ids: None if the tokenizer returns none.
        offsets: first character of each token in the context, and the character after its last; None outside of it.
        no_answer: position of the token for "no answer": CLS, or the first one without CLS.
    """

    row: int
    input_ids: Sequence[int]
    token_type_ids: Sequence[int] | None
    offsets: Sequence[tuple[int, int] | None]
    no_answer: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer: ``context[start:end]``, and the sum of the logits of its two ends."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RowAnswers:
    """The answers of a row over all its windows.

    Attributes:
        no_answer: score of no answer, the lowest of the windows: another window may hold the answer.
        best: the best answers, the best first; empty if no window has a token of the context.
    """

    no_answer: float
    best: Sequence[Answer]

    @property
    def margin(self) -> float:
        """Score of no answer less that of the best answer; infinite without an answer."""
        return self.no_answer - self.best[0].score if self.best else math.inf

    def text(self, threshold: float | None) -> str:
        """Return the best answer, or an empty text if the margin exceeds ``threshold``; None: always an answer."""
        if not self.best or (threshold is not None and self.margin > threshold):
            return ""
        return self.best[0].text


def windows(
    tokenizer: "PreTrainedTokenizerBase", questions: Sequence[str], contexts: Sequence[str], max_length: int
) -> list[Window]:
    """Return the windows of all rows, those of a row one after another.

    A context longer than a window is divided; neighbours overlap by a quarter of ``max_length``. A question longer than
    half of ``max_length`` is cut at its end.

    Args:
        tokenizer: a fast tokenizer; its own order of question and context, as in training.
        questions: one per row.
        contexts: one per row.
        max_length: most tokens of a window.

    Raises:
        ValueError: the tokenizer has no offsets, or ``max_length`` is below ``SHORTEST``.
    """
    if not tokenizer.is_fast:
        raise ValueError(f"{type(tokenizer).__name__} is not a fast tokenizer: it knows no characters of its tokens")
    if max_length < SHORTEST:
        raise ValueError(
            f"data.max_length: at least {SHORTEST} tokens are needed for question and context, got {max_length}"
        )
    if not questions:
        return []
    encoded = tokenizer(
        _cut(tokenizer, questions, max_length // 2),
        list(contexts),
        truncation="only_second",
        max_length=max_length,
        stride=max_length // 4,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    types = encoded.get("token_type_ids")
    found = []
    for index, ids in enumerate(encoded["input_ids"]):
        parts = encoded.sequence_ids(index)
        offsets = encoded["offset_mapping"][index]
        cls = tokenizer.cls_token_id
        found.append(
            Window(
                row=encoded["overflow_to_sample_mapping"][index],
                input_ids=ids,
                token_type_ids=None if types is None else types[index],
                offsets=[tuple(at) if part == 1 else None for at, part in zip(offsets, parts, strict=True)],
                no_answer=ids.index(cls) if cls in ids else 0,
            )
        )
    return found


def _cut(tokenizer: "PreTrainedTokenizerBase", questions: Sequence[str], most: int) -> list[str]:
    """Return the questions, each cut after its first ``most`` tokens."""
    encoded = tokenizer(
        list(questions), add_special_tokens=False, truncation=True, max_length=most, return_offsets_mapping=True
    )
    ends = [offsets[-1][1] if len(offsets) == most else None for offsets in encoded["offset_mapping"]]
    return [question[:end] for question, end in zip(questions, ends, strict=True)]


def best_spans(
    logits_BT2: "torch.Tensor", context_BT: "torch.Tensor", no_answer_B: "torch.Tensor"
) -> list[WindowSpans]:
    """Return the best spans of each window: at most ``MOST_ANSWERS``, each of at most ``MOST_TOKENS`` tokens.

    All spans of these lengths are compared.

    Args:
        logits_BT2: logits of the start and the end.
        context_BT: whether a token belongs to the context.
        no_answer_B: position of the token for "no answer".
    """
    import torch

    logits_BT2 = logits_BT2.float()
    start_BT, end_BT = logits_BT2.masked_fill(~context_BT[..., None], -math.inf).unbind(-1)
    tokens = start_BT.shape[1]
    scores_BLT = torch.stack(
        [
            torch.nn.functional.pad(start_BT[:, : tokens - more] + end_BT[:, more:], (0, more), value=-math.inf)
            for more in range(min(MOST_TOKENS, tokens))
        ],
        dim=1,
    )
    count = min(MOST_ANSWERS, scores_BLT[0].numel())
    values_BK, places_BK = scores_BLT.flatten(1).topk(count)
    no_answers = logits_BT2[torch.arange(len(logits_BT2)), no_answer_B].sum(-1).tolist()
    return [
        (
            no_answer,
            [
                (value, place % tokens, place % tokens + place // tokens)
                for value, place in zip(values, places, strict=True)
                if math.isfinite(value)
            ],
        )
        for no_answer, values, places in zip(no_answers, values_BK.tolist(), places_BK.tolist(), strict=True)
    ]


def join(context: str, offsets: Sequence[Sequence[Sequence[int] | None]], spans: Sequence[WindowSpans]) -> RowAnswers:
    """Return the answers of a row from those of its windows; a span in two windows has its higher score.

    Args:
        context: text of the row.
        offsets: ``Window.offsets`` of each window.
        spans: ``best_spans`` of each window.
    """
    scores: dict[tuple[int, int], float] = {}
    for places, (_, found) in zip(offsets, spans, strict=True):
        for score, first, last in found:
            start, end = places[first], places[last]
            if start is not None and end is not None and start[0] < end[1]:
                at = (start[0], end[1])
                scores[at] = max(score, scores.get(at, -math.inf))
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:MOST_ANSWERS]
    answers = [Answer(text=context[at[0] : at[1]], start=at[0], end=at[1], score=score) for at, score in best]
    return RowAnswers(no_answer=min(no_answer for no_answer, _ in spans), best=answers)


def probabilities(row: RowAnswers, *, may_be_absent: bool) -> tuple[list[float], float | None]:
    """Return the probability of each answer, and of no answer: the softmax of the scores over these alone.

    Args:
        row: the answers of a row.
        may_be_absent: whether no answer is one of the choices; else its probability is None.
    """
    scores = [answer.score for answer in row.best] + ([row.no_answer] if may_be_absent else [])
    if not scores:
        return [], None
    highest = max(scores)
    powers = [math.exp(score - highest) for score in scores]
    shares = [power / math.fsum(powers) for power in powers]
    return (shares[:-1], shares[-1]) if may_be_absent else (shares, None)


class ScoredAnswer(TypedDict):
    """An answer, its characters ``start`` to ``end`` in the context, and its probability; None: no answer."""

    answer: str
    start: int | None
    end: int | None
    score: float


class AnswerRecord(ScoredAnswer):
    """The predicted answer of a row and its best answers, as plain values."""

    answers: list[ScoredAnswer]


def answer_record(row: RowAnswers, threshold: float | None, most: int = 5) -> AnswerRecord:
    """Return a row's prediction as plain values: ``answer``, its place and probability, and the best ``answers``.

    ``answer`` is empty for no answer; ``start`` and ``end`` are None then.

    Args:
        row: the answers of a row.
        threshold: of ``RowAnswers.text``.
        most: most answers in ``answers``.
    """
    shares, absent = probabilities(row, may_be_absent=threshold is not None)
    text = row.text(threshold)
    answers: list[ScoredAnswer] = [
        {"answer": each.text, "start": each.start, "end": each.end, "score": share}
        for each, share in [*zip(row.best, shares, strict=True)][:most]
    ]
    first: ScoredAnswer = (
        answers[0] if text else {"answer": "", "start": None, "end": None, "score": absent if absent else 0.0}
    )
    return {**first, "answers": answers}
