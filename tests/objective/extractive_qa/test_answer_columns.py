"""Questions and answers in the forms of SQuAD and in flat columns, and errors for wrong ones."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from objectives.extractive_qa import OBJECTIVE
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError

CONTEXT = "The hall opened in May. It closed in June."
MAY = {"text": ["in May", "May"], "answer_start": [16, 19]}
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "title": "Hall",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {"id": "1", "question": "When did it open?", "answers": [{"text": "May", "answer_start": 19}]},
                        {"id": "2", "question": "Who built it?", "is_impossible": True, "answers": []},
                    ],
                }
            ],
        }
    ],
}
FORMS: Mapping[str, tuple[str, list[list[str]]]] = {
    "squad.json": (json.dumps(SQUAD), [["May"], []]),
    "rows.jsonl": (
        "\n".join(
            json.dumps({"question": q, "context": CONTEXT, "answers": a})
            for q, a in (("When?", MAY), ("Who?", {"text": [], "answer_start": []}), ("Why?", None))
        ),
        [["in May", "May"], [], []],
    ),
    "list.jsonl": (
        json.dumps({"question": "When?", "context": CONTEXT, "answers": [{"text": "May", "answer_start": 19}]}),
        [["May"]],
    ),
    "flat.csv": (
        f'question,context,answer,answer_start\nWhen?,"{CONTEXT}",May,19\nWho?,"{CONTEXT}",,\n',
        [["May"], []],
    ),
    "json.csv": ("question,context,answers\nWhen?,It is May,\"{'text': 'May'}\"\n".replace("'", '""'), [["May"]]),
}


def source(folder: Path, name: str, content: str) -> Source:
    (folder / name).write_text(content)
    return Source(origin=Origin.LOCAL, name=str(folder / name))


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_answers_are_read(tmp_path: Path, name: str) -> None:
    content, expected = FORMS[name]
    rows = OBJECTIVE.read(source(tmp_path, name, content), {})
    assert [answers["text"] for answers in rows["answers"][:]] == expected
    assert rows["answerable"][:] == ["yes" if texts else "no" for texts in expected]
    for context, answers in zip(rows["text_pair"][:], rows["answers"][:], strict=True):
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert context[start : start + len(text)] == text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answer": "May", "answer_start": 18}, "answer_start 18 has ' Ma', and the answer 'May' is at character 19"),
        ({"answer": "July"}, r"row 1\): the answer 'July' is not in its context"),
        ({"answer": "May", "answer_start": 1.5}, "answer_start must be a whole number of at least 0, got '1.5'"),
        ({"answers": "May"}, "not JSON: .* data.columns: {answer: COLUMN"),
        ({"answers": {"text": ["a", "b"], "answer_start": [1]}}, "2 texts and 1 values of answer_start"),
        ({"reply": "May"}, "neither a column 'answers' nor 'answer'"),
    ],
)
def test_wrong_answers_are_refused(tmp_path: Path, row: Mapping[str, object], message: str) -> None:
    line = json.dumps({"question": "When?", "context": CONTEXT, **row})
    with pytest.raises(DataError, match=message):
        OBJECTIVE.read(source(tmp_path, "rows.jsonl", line), {})


def test_context_stays_in_one_split(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {"q": f"When was {name} number {turn}?", "context": f"{name} came in May and in May.", "answer": answer}
        )
        for name in ("ada", "bo", "cy", "di", "ed", "flo", "gil", "hal", "ida", "jo")
        for turn, answer in (("one", "May"), ("two", "came"), ("three", None))
    ]
    plan = DataPlan(
        source=source(tmp_path, "rows.jsonl", "\n".join(lines)),
        columns={"question": "q"},
        validation=6,
        test=6,
    )
    splits = OBJECTIVE.splits(plan)
    contexts = [{*rows["text_pair"][:]} for rows in splits.by_name().values()]
    assert sum(map(len, contexts)) == len(set.union(*contexts))
    assert len(splits.test) == len(splits.validation) == 6
    assert any("occur several times in their context" in warning for warning in splits.summary.warnings)
