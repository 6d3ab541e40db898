"""The data sets made from the packaged news."""

from pathlib import Path

import pytest

from orchestrator.assets.data import read_table
from orchestrator.assets.derived_sets import derived_news
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError


def test_spans_of_made_rows_are_in_their_texts() -> None:
    entities = read_table(Source(origin=Origin.PACKAGED, name="news-entities"))
    assert (len(entities), len({*entities["group"]})) == (16_410, 2_121)
    first = next(row for row in entities if row["entities"])
    found = [(first["text"][one["start"] : one["end"]], one["label"]) for one in first["entities"]]
    assert found[:2] == [("76%", "PERCENT"), ("$1.13bn", "MONEY")]
    questions = read_table(Source(origin=Origin.PACKAGED, name="news-questions"))
    assert len(questions) == 6_962
    for row in questions:
        for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True):
            assert row["context"][start : start + len(text)] == text
    assert sum(not row["answers"]["text"] for row in questions) / 6_962 == pytest.approx(0.21, abs=0.001)


def test_further_tasks_are_made_of_same_rows() -> None:
    pairs, mentions, answers, entities, questions = (
        read_table(Source(origin=Origin.PACKAGED, name=f"news-{name}"))
        for name in ("pairs", "mentions", "answers", "entities", "questions")
    )
    news = read_table(Source(origin=Origin.PACKAGED, name="bbc-news"))
    own = set(zip(news["headline"], map(str, range(len(news))), strict=True))
    assert (len(pairs), pairs["label"][:2]) == (2 * len(news), ["yes", "no"])
    for row in pairs:
        assert ((row["headline"], row["group"]) in own) == (row["label"] == "yes")
        assert news[int(row["group"])]["text"].startswith(row["opening"])
    assert mentions["text"][:] == entities["text"][:]
    assert [bool(one) for one in mentions["label"]] == [bool(one) for one in entities["entities"]]
    assert mentions["label"][0] == ["date", "money", "percentage"]
    for answer, row in zip(answers, questions, strict=True):
        assert answer["text"] == f"{row['question']} {row['context']}"
        assert [answer["target"]] == (row["answers"]["text"] or ["no answer"])


def test_changed_rows_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Rows of other rules or other articles would give other scores under the same name."""
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path))
    with pytest.raises(AssetError, match="is not the published file"):
        derived_news("news-entities", lambda: {"text": ["On Monday Mr Smith paid 3m pounds for a small house."]})
    assert not [*tmp_path.glob("news-*")]
