"""Realistic rows, from the file to the splits: each row is used or counted as excluded."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.objective.classification import TextClassification
from orchestrator.objective.language_modelling import CausalLM
from orchestrator.objective.protocol import Splits

VOWELS = [*"ािीुूेैोौं"]


class Mood(TextClassification):
    name = "mood"
    labels = ("negative", "positive", "None")
    default_source = Source(origin=Origin.LOCAL, name="none.csv")


class Answer(CausalLM):
    name = "answer"
    default_source = Source(origin=Origin.LOCAL, name="none.csv")
    target = "answer"


def csv(path: Path, rows: Sequence[tuple[str, ...]], head: str = "text,label") -> Source:
    path.write_text("\n".join([head, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return Source(origin=Origin.LOCAL, name=str(path))


def jsonl(path: Path, rows: list[Mapping[str, Any]]) -> Source:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Source(origin=Origin.LOCAL, name=str(path))


def plan(source: Source, rule: int = 2) -> DataPlan:
    return DataPlan(source=source, validation=8, test=8, split_rule=rule)


def used(splits: Splits) -> int:
    return len(splits.train) + len(splits.validation) + len(splits.test)


FILLER = [(f"the film number {i}", str(i % 2)) for i in range(40)]
CASES: dict[str, list[tuple[str, str]]] = {
    "signs": [(f"I like {sign} {i}", str(sign == "C")) for i in range(12) for sign in ("C", "C++")]
    + [(":)", "1"), (":(", "0"), (":-)", "1"), (":D", "1")],
    "hindi": [(f"कर{vowel}त{other}", str(i % 2)) for i, vowel in enumerate(VOWELS) for other in VOWELS[:5]],
    "words for nothing": [(word, "0") for word in ("null", "None", "N/A", "NA", "nan", "n/a")],
    "numbers": [(f"{i:06d}", str(i % 2)) for i in range(30)],
}


@pytest.mark.parametrize("name", CASES)
def test_every_row_is_used(tmp_path: Path, name: str) -> None:
    rows = [(text, {"True": "1", "False": "0"}.get(label, label)) for text, label in CASES[name]] + FILLER
    splits = Mood().splits(plan(csv(tmp_path / "a.csv", rows)))
    assert (used(splits), splits.summary.dropped) == (len(rows), {})
    texts = [text for split in (splits.train, splits.validation, splits.test) for text in split["text"]]
    assert sorted(texts) == sorted(text for text, _ in rows)


def test_rows_without_group_are_used(tmp_path: Path) -> None:
    rows = [(text, label, f"c{i}" if i < 12 else "") for i, (text, label) in enumerate(FILLER)]
    splits = Mood().splits(plan(csv(tmp_path / "a.csv", rows, "text,label,group")))
    assert (used(splits), splits.summary.dropped) == (40, {})


def test_a_class_may_have_the_name_none(tmp_path: Path) -> None:
    rows = [(f"the film number {i}", ("negative", "positive", "None")[i % 3]) for i in range(60)]
    splits = Mood().splits(plan(csv(tmp_path / "a.csv", [*rows, ("the last film", "")])))
    assert splits.summary.label_counts["train"]["None"] == 15
    assert splits.summary.dropped == {"no label": 1}


def test_dates_in_json_stay_text(tmp_path: Path) -> None:
    days = [f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(40)]
    splits = Mood().splits(plan(jsonl(tmp_path / "a.jsonl", [{"text": d, "label": i % 2} for i, d in enumerate(days)])))
    assert used(splits) == 40
    assert set(splits.test["text"]) <= set(days)


def test_targets_are_text(tmp_path: Path) -> None:
    rows = [(f"the film number {i}", f"{i % 3:02d}") for i in range(40)]
    splits = Answer().splits(plan(csv(tmp_path / "a.csv", rows, "text,answer")))
    assert set(splits.train["answer"]) == {"00", "01", "02"}
    for value, kind in ((1, "integers"), (True, "booleans"), (0.5, "numbers"), ({"a": 1}, "objects")):
        source = jsonl(tmp_path / "a.jsonl", [{"text": f"film {i}", "answer": value} for i in range(40)])
        with pytest.raises(DataError, match=rf"column answer of .*a\.jsonl has {kind} \(row 1: .*\); text is needed"):
            Answer().splits(plan(source))


def test_excluded_rows_are_counted(tmp_path: Path) -> None:
    long = "a text of more than five words"
    rows = [*FILLER, FILLER[0], ("  ", "1"), ("x", "0"), ("x", "1"), ("y", "")]
    rows += [(f"{long} {i}", "0") for i in range(20)] + [(f"{long.upper()}: {i}", "0") for i in range(20)]
    source = csv(tmp_path / "a.csv", rows)
    other = csv(tmp_path / "b.csv", [*FILLER[:6], ("another film", "1"), (" ", "1")])
    splits = Mood().splits(
        DataPlan(source=source, train=30, validation=8, test=8, shift={"other": other}, shift_rows=1)
    )
    dropped = splits.summary.dropped
    own = {reason: number for reason, number in dropped.items() if not reason.startswith("shift/")}
    assert {reason: number for reason, number in own.items() if "similar" not in reason and "more" not in reason} == {
        "no label": 1,
        "blank text": 1,
        "copy of another row": 1,
        "copies with different labels": 2,
    }
    assert own["more rows than data.train asks for"] > 0
    assert used(splits) + sum(own.values()) == len(rows)
    assert sum(number for reason, number in dropped.items() if reason.startswith("shift/other: ")) == 7
    assert splits.summary.longest["shift/other"] == max(map(len, splits.shift["other"]["text"]))


def test_generation_task_keeps_every_answer(tmp_path: Path) -> None:
    rows = [(f"one question of many words {i // 3}", f"answer {i}") for i in range(60)]
    source = csv(tmp_path / "a.csv", [*rows, rows[0], ("no answer", "")], "text,answer")
    splits = Answer().splits(plan(source))
    sides = [set(split["text"]) for split in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, sides)) == len(set.union(*sides))
    lost = splits.summary.dropped
    assert (lost["copy of another row"], lost["no target"]) == (1, 1)
    assert used(splits) + sum(lost.values()) == 62
    assert used(splits) >= 56  # also excluded: answers to a question with answers in another split
    old = Answer().splits(plan(source, rule=1))
    assert used(old) == 20


def test_a_group_over_all_rows_has_a_remedy(tmp_path: Path) -> None:
    source = csv(tmp_path / "a.csv", [(*row, "same") for row in FILLER], "text,label,group")
    with pytest.raises(DataError, match=r"another split 32\); ask for fewer rows, or name .* \{group: COLUMN\}"):
        Mood().splits(plan(source))


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", b""), ("a.csv", b"PK\x03\x04" + bytes(50))])
def test_rule_one_refuses_invalid_tables(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} cannot be read as .*: \w+"):
        Mood().splits(plan(Source(origin=Origin.LOCAL, name=str(tmp_path / name)), rule=1))
