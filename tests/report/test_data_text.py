"""Data counts and their reasons on the screen, on the page and in JSON."""

import json
from dataclasses import asdict, replace

import pytest

from orchestrator.core.data import DataSummary
from orchestrator.report.data_text import data_lines
from orchestrator.report.html import render_page
from orchestrator.report.summary import Summary, as_json, summarise
from orchestrator.report.text import summary_text
from tests.report.examples import make_records, make_sweep
from tests.report.test_views import shown

ROWS = {"train": 356, "validation": 100, "test": 100, "shift/tweets": 50}
DATA_SUMMARY = DataSummary(
    labels={"1": "good [x]", "0": "bad"},
    label_counts={"train": {"bad": 200, "good [x]": 156}, "shift/tweets": {"bad": 49, "good [x]": 1}},
    dropped={"blank text": 9, "copy of another row": 42, "shift/tweets: too similar to a training row": 3},
    truncated={"train": 0, "test": 1},
    max_length=128,
    longest={"train": 187, "test": 51058},
    warnings=("test has no rows of bad.",),
    split_rule=2,
)


@pytest.fixture
def summary() -> Summary:
    facts = replace(make_sweep().facts, rows=ROWS, data_summary=DATA_SUMMARY)
    return summarise(make_sweep(facts=facts), make_records())


def test_every_count_has_reason() -> None:
    assert data_lines(ROWS, DATA_SUMMARY) == [
        ("rows", "train 356 · validation 100 · test 100 · shift/tweets 50"),
        ("omitted", "51 of 607 rows (blank text: 9 · copy of another row: 42)"),
        ("omitted shift/tweets", "3 of 53 rows (too similar to a training row: 3)"),
        ("truncated", "rows over 128 tokens: test 1; longest text: 51,058 characters"),
        ("labels", "0 → bad · 1 → good [x]"),
        ("classes train", "bad: 200 · good [x]: 156"),
        ("classes shift/tweets", "bad: 49 · good [x]: 1"),
        ("warning", "test has no rows of bad."),
    ]


def test_empty_lines_are_omitted() -> None:
    plain = DataSummary(labels={"bad": "bad"}, truncated={"train": 0}, max_length=64, longest={"train": 9})
    assert data_lines({"train": 9}, plain) == [("rows", "train 9")]
    assert data_lines({}, DataSummary()) == []


def test_many_classes_are_abbreviated() -> None:
    many = DataSummary(label_counts={"train": {f"class {i}": i for i in range(77)}})
    line = dict(data_lines({"train": 9}, many))["classes train"]
    assert line.startswith("class 0: 0 · class 1: 1 · ")
    assert line.endswith("class 11: 11 · and 65 more")
    assert len(data_lines({"train": 9}, many, classes=False)) == 1


def test_every_report_form_shows_data(summary: Summary) -> None:
    text = " ".join(shown(summary_text(summary), 160).split())
    page = render_page(summary, {})
    for message in (
        "51 of 607 rows (blank text: 9 · copy of another row: 42)",
        "0 → bad · 1 → good [x]",
        "test has no rows of bad.",
    ):
        assert message in text
        assert message in page
    assert "classes train bad: 200 · good [x]: 156" in text
    assert "<tr><td>good [x]</td><td>156</td><td>1</td></tr>" in page
    assert as_json(summary)["data_summary"] == json.loads(json.dumps(asdict(DATA_SUMMARY)))
