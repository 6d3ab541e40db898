"""Windows over long contexts, and the best spans in them."""

import itertools
import math

import datasets
import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerBase

from objectives.extractive_qa import OBJECTIVE
from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.extractive_qa.answer_spans import (
    MOST_TOKENS,
    Answer,
    RowAnswers,
    answer_record,
    best_spans,
    join,
    windows,
)
from orchestrator.objective.extractive_qa.extractive_qa import END, NO_ANSWER, START
from orchestrator.objective.padding import IGNORED

CONTEXT = "The hall was built over many years. " * 12 + "It opened in May 1999. " + "It is big. " * 30


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(Source(origin=Origin.PACKAGED, name="minilm"))


def rows_with(answer: str, question: str = "When did it open?") -> datasets.Dataset:
    answers = {"text": [answer], "answer_start": [CONTEXT.find(answer)]} if answer else {"text": [], "answer_start": []}
    return datasets.Dataset.from_dict({"text": [question], "text_pair": [CONTEXT], "answers": [answers]})


def test_windows_overlap_and_cover_the_context(tokenizer: PreTrainedTokenizerBase) -> None:
    found = windows(tokenizer, ["When?", "Where?"], [CONTEXT, "Here."], 64)
    assert [window.row for window in found] == [0] * (len(found) - 1) + [1]
    parts = [[at for at in window.offsets if at is not None] for window in found[:-1]]
    assert (parts[0][0][0], parts[-1][-1][1]) == (0, len(CONTEXT.rstrip()))
    for one, other in itertools.pairwise(parts):
        assert one[-16:] == other[:16]
    assert max(len(window.input_ids) for window in found) == 64


def test_long_question_is_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    [window] = windows(tokenizer, ["why " * 500], ["Here."], 64)
    assert window.offsets.count(None) == 32 + 3
    with pytest.raises(ValueError, match="at least 32 tokens"):
        windows(tokenizer, ["Why?"], ["Here."], 31)


def test_every_window_has_the_answer_or_none(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = OBJECTIVE.encode(rows_with("May 1999"), tokenizer, 64)
    marked = []
    for example in examples:
        labels = example["labels"]
        [start], [end] = ([place for place, bits in enumerate(labels) if bits & bit] for bit in (START, END))
        if labels[start] & NO_ANSWER:
            assert start == end
            continue
        marked.append(CONTEXT[example["offsets"][start][0] : example["offsets"][end][1]])
    assert 0 < len(marked) < len(examples)
    assert {*marked} == {"May 1999"}
    none = OBJECTIVE.encode(rows_with(""), tokenizer, 64)
    assert all(sum(bits & (START | END) for bits in example["labels"]) == START | END for example in none)


def test_max_length_too_short_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(DataError, match=r"extractive_qa: data\.max_length: at least 32 tokens are needed .*got 16"):
        OBJECTIVE.encode(rows_with("May 1999"), tokenizer, 16)


def test_loss_equals_transformers(tokenizer: PreTrainedTokenizerBase) -> None:
    torch.manual_seed(0)
    config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = BertForQuestionAnswering(config).eval()
    examples = OBJECTIVE.encode(rows_with("May 1999"), tokenizer, 64)
    batch = OBJECTIVE.collate(examples, tokenizer)
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with torch.no_grad():
        out = model(**inputs)
    loss_B, units_B = OBJECTIVE.losses(torch.stack([out.start_logits, out.end_logits], dim=-1), batch)
    assert units_B.tolist() == [1.0] * len(examples)
    for row, example in enumerate(examples):  # alone: transformers' loss depends on the padding
        labels = example["labels"]
        ends = {
            f"{name}_positions": torch.tensor([next(at for at, bits in enumerate(labels) if bits & bit)])
            for name, bit in (("start", START), ("end", END))
        }
        alone = {name: value[row : row + 1, : len(labels)] for name, value in inputs.items()}
        with torch.no_grad():
            assert loss_B[row].item() == pytest.approx(model(**alone, **ends).loss.item(), rel=1e-5)
    smoothed = OBJECTIVE.losses(torch.zeros(len(examples), 64, 2), batch, 0.1)[0]
    lengths = (batch["labels"] != IGNORED).sum(1)
    assert torch.allclose(smoothed, lengths.float().log())


def test_best_spans_are_those_of_an_exhaustive_search() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 50, 2, generator=generator)
    context = torch.zeros(3, 50, dtype=torch.bool)
    context[0, 5:48], context[1, 10:13] = True, True
    found = best_spans(logits, context, torch.tensor([0, 1, 2]))
    for row in range(3):
        expected = sorted(
            (
                (logits[row, first, 0] + logits[row, last, 1]).item()
                for first in range(50)
                for last in range(first, min(50, first + MOST_TOKENS))
                if context[row, first] and context[row, last]
            ),
            reverse=True,
        )[:20]
        assert [score for score, _, _ in found[row][1]] == pytest.approx(expected)
        assert all((logits[row, a, 0] + logits[row, b, 1]).item() == score for score, a, b in found[row][1])
        assert found[row][0] == pytest.approx(logits[row, row].sum().item())
    assert found[2][1] == []


def test_windows_of_a_row_are_joined() -> None:
    offsets = [[None, (0, 3), (4, 7)], [None, (4, 7), (8, 11)]]
    joined = join("one two six", offsets, [(1.0, [(2.0, 2, 2), (1.5, 1, 2)]), (-1.0, [(3.0, 1, 1), (0.5, 1, 2)])])
    assert [(one.text, one.start, one.end, one.score) for one in joined.best] == [
        ("two", 4, 7, 3.0),
        ("one two", 0, 7, 1.5),
        ("two six", 4, 11, 0.5),
    ]
    assert (joined.no_answer, joined.margin) == (-1.0, -4.0)
    assert (joined.text(-5.0), joined.text(-4.0), joined.text(None)) == ("", "two", "two")


def test_record_has_probabilities_of_all_choices() -> None:
    best = [
        Answer(text=text, start=at, end=at + 3, score=score) for text, at, score in (("one", 0, 1.0), ("two", 4, 0.0))
    ]
    row = RowAnswers(no_answer=1.0, best=best)
    total = 2 * math.e + 1
    answered = answer_record(row, threshold=0.0)
    assert (answered["answer"], answered["start"]) == ("one", 0)
    absent = answer_record(row, threshold=-1.0)
    assert (absent["answer"], absent["start"]) == ("", None)
    assert answered["score"] == absent["score"] == pytest.approx(math.e / total)
    assert [each["end"] for each in answer_record(row, None)["answers"]] == [3, 7]
