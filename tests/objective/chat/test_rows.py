"""Conversations in the forms of published data sets, and rows that cannot be used."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError, UserError
from orchestrator.objective.chat import ChatCompletion
from orchestrator.objective.loading import load_objective
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.truncation import truncated
from tests.fakes.tiny_chat import MARKED, tiny_chat_model, write_chats

USER, ANSWER = {"role": "user", "content": "is it good?"}, {"role": "assistant", "content": "very"}
WANTED = [USER, ANSWER]


class Chats(ChatCompletion):
    name = "chats"
    default_source = Source(origin=Origin.LOCAL, name="none.jsonl")


def source(folder: Path, *rows: dict[str, Any]) -> Source:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return Source(origin=Origin.LOCAL, name=str(file))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": WANTED},
        {"messages": [*WANTED, {"role": "user", "content": "thanks"}]},
        {"messages": json.dumps(WANTED)},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "is it good?"}]}, ANSWER]},
        {"conversations": [{"from": "human", "value": "is it good?"}, {"from": "gpt", "value": "very"}]},
        {"prompt": "is it good?", "completion": "very"},
        {"prompt": [USER], "completion": [ANSWER]},
    ],
)
def test_forms_give_the_same_conversation(tmp_path: Path, row: dict[str, Any]) -> None:
    [read] = Chats().read(source(tmp_path, row), {})
    assert read == {"text": "is it good?", "answer": "very", "messages": WANTED}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"messages": WANTED}, {"messages": [{"role": "bot", "content": "a"}]}], 'row 2: role "bot" is unknown'),
        ([{"messages": [{"content": "a"}]}], "row 1: role null is unknown"),
        ([{"messages": "good"}], "row 1: a list of messages is needed, got a text"),
        ([{"messages": [{"role": "user", "content": [{"type": "image"}]}]}], "row 1: only parts of the type text"),
        ([{"text": "good"}], r"a column messages, or the columns prompt and completion, are needed in .*columns: text"),
    ],
)
def test_wrong_cells_are_named(tmp_path: Path, rows: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        Chats().read(source(tmp_path, *rows), {})


def test_unusable_rows_are_counted_and_named(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in write_chats(tmp_path / "chats.jsonl", 12).read_text().splitlines()]
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    bad = [[USER], [USER, {"role": "assistant", "content": " "}], [ANSWER, USER, ANSWER], [USER, call], [USER]]
    rows = source(tmp_path, *lines, *({"messages": messages} for messages in bad))
    splits = Chats().splits(DataPlan(source=rows, validation=2, test=2))
    assert splits.summary.dropped == {
        "no assistant turn": 2,
        "empty assistant turn": 1,
        "no user turn before the first assistant turn": 1,
        "tool calls or their results": 1,
    }
    assert sum(map(len, splits.by_name().values())) == 12
    assert sum(splits.summary.turns.values()) == len(splits.train)
    assert f"{rows}: 2 rows left out, no assistant turn: row 13, 17" in splits.summary.warnings
    with pytest.raises(DataError, match=r"12 usable rows\. Lower data\.test .*\. Rows left out before: no assistant"):
        Chats().splits(DataPlan(source=rows, validation=10, test=10))


def test_long_rows_lose_early_turns_and_keep_the_answer(tmp_path: Path) -> None:
    folder = tiny_chat_model(tmp_path / "model", MARKED)
    tokenizer, task = AutoTokenizer.from_pretrained(folder), Chats()
    early = [{"role": "system", "content": "be nice"}, USER, ANSWER, {"role": "user", "content": "the plot " * 8}]
    rows = task.read(source(tmp_path, {"messages": [*early, {"role": "assistant", "content": "bad plot"}]}), {})

    def texts(limit: int) -> tuple[str, str]:
        [row] = task.encode(rows, tokenizer, limit)
        assert len(row["input_ids"]) == len(row["labels"]) <= limit
        learnt = [token for token in row["labels"] if token != IGNORED]
        return str(tokenizer.decode(row["input_ids"])), str(tokenizer.decode(learnt))

    [prompt] = task.prompts(rows, tokenizer, 4)  # as in predict: without the last answer, and not cut
    assert [token for token in prompt if token] == task.encode(rows, tokenizer, 100)[0]["input_ids"][: len(prompt)]
    assert str(tokenizer.decode(prompt)).endswith("the plot <|im_end|> <|im_start|> assistant")
    whole, learnt = texts(100)
    assert "is it good ?" in whole
    assert learnt == "very <|im_end|> bad plot <|im_end|>"
    whole, learnt = texts(30)
    assert "be nice" in whole
    assert "is it good ?" not in whole
    assert whole.count("the plot") == 8
    assert learnt == "bad plot <|im_end|>"
    whole, learnt = texts(25)
    assert "be nice" in whole
    assert 0 < whole.count("the plot") < 8
    assert learnt == "bad plot <|im_end|>"
    assert texts(4)[1] == "bad plot"
    chats = Source(origin=Origin.LOCAL, name=str(write_chats(tmp_path / "c.jsonl", 9)))
    splits = task.splits(DataPlan(source=chats, validation=1, test=1))
    model = Source(origin=Origin.LOCAL, name=str(folder))
    lengths = [len(row["input_ids"]) for row in task.encode(splits.train, tokenizer, 1000)]
    assert truncated(task, splits, model, 40)["train"] == sum(length > 40 for length in lengths) > 0


def test_given_template_is_used_and_refused_elsewhere() -> None:
    assert load_objective("chat", (), MARKED).chat_template == MARKED  # type: ignore[attr-defined]  # ours has it
    assert load_objective("chat").chat_template is None  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="objective headline has no conversations"):
        load_objective("headline", (), MARKED)
