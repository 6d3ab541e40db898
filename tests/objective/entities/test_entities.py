"""Forms of data, tags, windows and metrics of entities."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from transformers import AutoTokenizer

from objectives.entities import Entities
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DataError
from orchestrator.evaluation.entities.entity_metrics import entity_metrics
from orchestrator.objective.entities.entity_rows import stored_spans
from orchestrator.objective.entities.entity_words import Span, strict_spans, windows, words_of
from orchestrator.objective.entities.tags import TagReader, is_iobes, tags_of
from orchestrator.objective.protocol import Splits
from tests.fakes.tiny_models import tiny_bert

TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), min_size=1, max_size=8)
IGNORED = -100


def splits_of(file: Path, rows: object, **plan: object) -> Splits:
    lines = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in list(rows))  # type: ignore[call-overload]
    file.write_text(lines)
    sizes = {"train": 2, "validation": 1, "test": 1} | plan
    return Entities().splits(DataPlan(source=Source(origin=Origin.LOCAL, name=str(file)), **sizes))  # type: ignore[arg-type]


def entities(splits: Splits) -> set[tuple[str, str]]:
    return {
        (text[span.start : span.end], span.label)
        for rows in splits.by_name().values()
        for text, stored in zip(rows["text"][:], rows["entities"][:], strict=True)
        for span in stored_spans(stored)
    }


@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=4))
def test_metrics_equal_strict_seqeval(drawn: list[tuple[list[str], list[str]]]) -> None:
    pairs = [(one[: min(len(one), len(two))], two[: min(len(one), len(two))]) for one, two in drawn]
    ours = entity_metrics(pairs)
    if not any(strict_spans(tags) for pair in pairs for tags in pair):
        assert {*ours.values()} == {0.0}  # where seqeval's macro F1 is NaN
        return
    predicted, true = zip(*pairs, strict=True)
    with np.errstate(all="ignore"):
        theirs = classification_report(
            [*true], [*predicted], mode="strict", scheme=IOB2, output_dict=True, zero_division=0
        )
    for name, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
        assert ours[name] == pytest.approx(theirs["micro avg"][key])
    assert ours["macro_f1"] == pytest.approx(theirs["macro avg"]["f1-score"])
    for kind in "AB":
        assert ours.get(f"f1_{kind}", 0.0) == pytest.approx(theirs.get(kind, {"f1-score": 0.0})["f1-score"])


def test_both_schemes_mark_the_same_entities() -> None:
    spans = [Span(start=0, end=1, label="A"), Span(start=1, end=4, label="A"), Span(start=5, end=6, label="B")]
    iob2 = tags_of(spans, 7)
    assert iob2 == ["B-A", "B-A", "I-A", "I-A", "O", "B-B", "O"]
    iobes = ["S-A", "B-A", "I-A", "E-A", "O", "S-B", "O"]
    bilou = ["U-A", "B-A", "I-A", "L-A", "O", "U-B", "O"]
    for tags in (iob2, iobes, bilou):
        assert TagReader(iobes=is_iobes(tags)).spans(1, tags) == spans


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["O", "I-A"], "not valid IOB2: row 2, word 2 has 'I-A' after 'O'"),
        (["B-A", "I-B"], "row 2, word 2 has 'I-B' after 'B-A'"),
        (["PER"], "row 2, word 1 has 'PER' after the start"),
        (["B-A", "O", "S-A"], "not valid IOBES: row 2, word 2 has 'O' after 'B-A'"),
        (["S-A", "B-A"], "not valid IOBES: row 2, word 2 has 'B-A' after 'S-A'"),
    ],
)
def test_invalid_tags_are_named_with_their_row(tags: list[str], message: str) -> None:
    reader = TagReader(iobes=is_iobes(tags))
    assert reader.spans(1, ["O"]) == reader.spans(2, tags) == []
    with pytest.raises(DataError, match=message):
        reader.require_valid("tags")


def test_forms_of_data_give_the_same_rows(tmp_path: Path) -> None:
    words = [f"Anna{row} lives in New York ." for row in range(4)]
    tags = ["B-PER", "O", "O", "B-LOC", "I-LOC", "O"]
    spans = [{"start": 0, "end": 5, "label": "PER"}, {"start": 15, "end": 23, "label": "LOC"}]
    by_tags = splits_of(tmp_path / "tags.jsonl", ({"tokens": text.split(), "tags": tags} for text in words))
    by_spans = splits_of(tmp_path / "spans.jsonl", ({"text": text, "entities": spans} for text in words))
    numbers = {"O": 0, "B-PER": 1, "B-LOC": 3, "I-LOC": 4}
    by_ids = splits_of(
        tmp_path / "ids.jsonl",
        ({"tokens": text.split(), "tags": [numbers[tag] for tag in tags]} for text in words),
        labels={"0": "O", "1": "B-PER", "2": "I-PER", "3": "B-LOC", "4": "I-LOC"},
    )
    conll = "\n\n".join("\n".join(map(" ".join, zip(text.split(), tags, strict=True))) for text in words)
    by_lines = splits_of(tmp_path / "rows.conll", f"-DOCSTART- O\n\n{conll}\n")
    for splits in (by_tags, by_spans, by_ids, by_lines):
        assert splits.summary.classes == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
        assert splits.train["text"][:] == by_tags.train["text"][:]
        assert entities(splits) == {("New York", "LOC"), *((f"Anna{row}", "PER") for row in range(4))}
    assert by_tags.summary.label_counts["train"] == {"LOC": 2, "PER": 2}


def test_types_are_renamed_and_excluded_in_every_form(tmp_path: Path) -> None:
    words = [f"Anna{row} saw Rome once" for row in range(4)]
    spans = [[0, 5, "PER"], [10, 14, "LOC"], [15, 19, "MISC"]]
    mapping = {"PER": "PERSON", "MISC": None}
    by_spans = splits_of(
        tmp_path / "spans.jsonl", ({"text": text, "entities": spans} for text in words), labels=mapping
    )
    tags = ["B-PER", "O", "B-LOC", "B-MISC"]
    by_tags = splits_of(
        tmp_path / "tags.jsonl", ({"tokens": text.split(), "tags": tags} for text in words), labels=mapping
    )
    assert entities(by_tags) == entities(by_spans)
    assert by_tags.summary.label_counts["train"] == {"LOC": 2, "PERSON": 2}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"text": "Anna", "entities": [{"start": 0, "end": 9, "label": "PER"}]},
            "row 5: the entity from character 0 to 9",
        ),
        (
            {"text": "Anna", "entities": [[0, 4, "PER"], [2, 4, "LOC"]]},
            "row 5: the entities 'Anna' .PER. and 'na' .LOC. ov",
        ),
        ({"text": "Anna", "entities": [{"begin": 0}]}, "row 5: an entity has the form"),
        ({"tokens": ["a"], "tags": ["O", "O"]}, "row 5: 1 tokens and 2 tags"),
        ({"tokens": ["a"], "tags": [1]}, "has numbers, and no names"),
        ({"words": ["a"]}, "needs the columns tokens and tags, or text and entities"),
    ],
)
def test_bad_rows_are_refused(row: dict[str, object], message: str, tmp_path: Path) -> None:
    good: list[dict[str, object]] = [{name: value[:0] for name, value in row.items()} for _ in range(4)]  # type: ignore[index]
    with pytest.raises(DataError, match=message):
        splits_of(tmp_path / "rows.jsonl", [*good, row])


def test_entity_inside_a_word_gets_the_whole_word(tmp_path: Path) -> None:
    rows = [{"text": f"row{place} Pre-Roman", "entities": [[10, 12, "A"]]} for place in range(4)]
    splits = splits_of(tmp_path / "rows.jsonl", rows)
    assert any("4 of 4 entities begin or end inside a word" in line for line in splits.summary.warnings)


def test_absent_types_of_mapping_are_named(tmp_path: Path) -> None:
    rows = [{"text": f"row{place} Anna", "entities": [[5, 9, "PER"]]} for place in range(4)]
    mapping = {"PER": "PERSON", "LOCATION": "PLACE", "PERS": None}
    [warning] = splits_of(tmp_path / "rows.jsonl", rows, labels=mapping).summary.warnings
    assert warning == (
        "data.labels: no row has the value LOCATION or PERS (did you mean PER?). "
        "The data has PER. Correct or remove the key."
    )
    tagged = [{"tokens": [f"row{place}", "Anna"], "tags": ["O", "B-PER"]} for place in range(4)]
    mapping = {"O": "O", "PER": "PERSON", "B-PER": "B-PERSON"}
    assert not splits_of(tmp_path / "tags.jsonl", tagged, labels=mapping).summary.warnings


@given(st.integers(0, 300), st.integers(2, 40))
def test_windows_predict_each_token_once_in_its_largest_context(tokens: int, capacity: int) -> None:
    found = windows(tokens, capacity)
    assert [place for window in found for place in range(window.first, window.last)] == [*range(tokens)]

    def context(place: int, start: int, stop: int) -> int:
        return min(place - start if start else tokens, stop - 1 - place if stop < tokens else tokens)

    for window in found:
        assert window.stop - window.start <= capacity
        for place in range(window.first, window.last):
            others = [context(place, each.start, each.stop) for each in found if each.start <= place < each.stop]
            assert max(others) - context(place, window.start, window.stop) <= 1


def test_first_tokens_have_tags_and_windows_lose_none(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows = []
    for number in range(4):
        words = [draw.choice(["film", "xyzzy", "good,", "Kim42"]) for _ in range(40 + number)]
        text = " ".join(words)
        rows.append({"text": text, "entities": [[*at, "A"] for at in words_of(text) if text[at[0]] == "K"]})
    splits = splits_of(tmp_path / "rows.jsonl", rows)
    objective = Entities()
    objective.labels = splits.summary.classes
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert(tmp_path / "bert"))
    [long] = [objective.encode(splits.test, tokenizer, 20)]
    [short] = objective.encode(splits.test, tokenizer, 10_000)
    text = splits.test["text"][0]
    assert len(long) > 5
    assert [example.get("window", 0) for example in long] == [*range(len(long))]
    assert all(len(example["input_ids"]) <= 20 for example in long)
    tags = [tag for example in long for tag in example["labels"] if tag != IGNORED]
    assert tags == [tag for tag in short["labels"] if tag != IGNORED]
    assert len(tags) == len(words_of(splits.test["text"][0]))
    assert tags.count(1) == len(stored_spans(splits.test["entities"][0])) > 0
    true = objective.row_spans(long, (tags, tags))[1]
    assert [(text[start:end], kind) for start, end, kind in true] == [("Kim42", "A")] * tags.count(1)
    with pytest.raises(DataError, match="max_length: 4 tokens are needed"):
        objective.encode(splits.test, tokenizer, 3)
