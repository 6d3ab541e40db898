"""Near-duplicates of rows across splits: the pairs, their warning and their file."""

import csv
import random
from pathlib import Path

import pytest

from orchestrator.objective.splits.near_copies import (
    FILE,
    MAX_ROWS,
    NearCopies,
    find_near_copies,
    write_near_copies,
)

DRAW = random.Random(5)
WORDS = [f"word{number}" for number in range(500)]


def sentence(words: int = 30) -> str:
    return " ".join(DRAW.choices(WORDS, k=words))


def changed(text: str, word: str = "other") -> str:
    words = text.split()
    return " ".join((*words[:12], word, *words[13:]))


@pytest.fixture(scope="module")
def planted() -> dict[str, list[str]]:
    texts = {split: [sentence() for _ in range(60)] for split in ("train", "validation", "test")}
    texts["train"][7] = changed(texts["test"][3]).upper()
    texts["train"][8] = f"{texts['validation'][9]} indeed"
    texts["validation"][20] = changed(texts["test"][40])
    texts["train"][9] = changed(texts["train"][10])  # one split: allowed
    return texts


@pytest.fixture(scope="module")
def found(planted: dict[str, list[str]]) -> NearCopies:
    return find_near_copies(planted)


def test_finds_planted_pairs_alone(found: NearCopies, planted: dict[str, list[str]]) -> None:
    places = [(pair.split, pair.row, pair.other_split, pair.other_row) for pair in found.pairs]
    assert places == [("test", 3, "train", 7), ("test", 40, "validation", 20), ("validation", 9, "train", 8)]
    assert found.pairs[0].text == planted["test"][3]
    assert found.pairs[0].similarity == pytest.approx(27 / 31)  # 2 of 29 pairs changed
    assert found.pairs[2].similarity == pytest.approx(29 / 30)


def test_warning_counts_rows_and_examined_rows(found: NearCopies) -> None:
    assert found.warning is not None
    assert "1 of test in train, 1 of test in validation, 1 of validation in train" in found.warning
    assert "examined rows: 60 test, 60 validation, 60 train" in found.warning
    assert NearCopies().warning is None


def test_limit_of_rows_is_stated(planted: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.objective.splits.near_copies.MAX_ROWS", {**MAX_ROWS, "train": 8})
    limited = find_near_copies(planted)
    assert [pair.other_row for pair in limited.pairs if pair.other_split == "train"] == [7]
    assert "8 of 60 train" in str(limited.warning)


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("very good film", "very good film!!", False),  # short
        ("お支払いは来週の月曜日に必ず済ませるつもりです。", "お支払いは来週の月曜日に必ず済ませるつもりです", True),
        ("नमस्ते मेरा खाता बंद कर दीजिए आज ही अभी", "नमस्ते मेरा खाता बंद कर दीजिए आज ही अभी।", True),
        ("the invoice of march is wrong again", "the invoice of april is right at last", False),
    ],
)
def test_words_of_every_script_are_compared(first: str, second: str, alike: bool) -> None:
    assert bool(find_near_copies({"test": [first], "validation": [], "train": [second]}).pairs) is alike


def test_file_lists_pairs(found: NearCopies, tmp_path: Path) -> None:
    assert write_near_copies(tmp_path, NearCopies()) is None
    file = write_near_copies(tmp_path, found)
    assert file == tmp_path / FILE
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [*csv.DictReader(stream)]
    assert [(row["split"], row["row"], row["other_split"]) for row in rows] == [
        ("test", "3", "train"),
        ("test", "40", "validation"),
        ("validation", "9", "train"),
    ]
    assert rows[0]["other_text"] == found.pairs[0].other_text
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
