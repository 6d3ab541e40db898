"""The shipped objectives on their real data, and the example in the docs."""

from pathlib import Path

import pytest

from objectives import (
    chat_preference,
    classification,
    headline,
    headline_seq2seq,
    multi_label,
    preference,
    regression,
    sentiment,
    short_headline,
    topic,
)
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.loading import load_objective, objective_names
from orchestrator.objective.protocol import Objective
from orchestrator.objective.rows.digest import digest
from orchestrator.objective.splits import normalised

SHIPPED: tuple[Objective, ...] = (
    chat_preference.OBJECTIVE,
    classification.OBJECTIVE,
    headline.OBJECTIVE,
    headline_seq2seq.OBJECTIVE,
    multi_label.OBJECTIVE,
    preference.OBJECTIVE,
    regression.OBJECTIVE,
    sentiment.OBJECTIVE,
    short_headline.OBJECTIVE,
    topic.OBJECTIVE,
)
"""The annotation lets mypy check the protocol."""

EXAMPLE = Path(__file__).parents[2] / "docs/examples/my_objective.py"


def packaged(name: str) -> Source:
    return Source(origin=Origin.PACKAGED, name=name)


def test_sentiment_on_movie_reviews_with_shift_sets() -> None:
    shift = {
        "product": packaged("vader-product"),
        "editorial": packaged("vader-nyt"),
        "tweets": packaged("vader-tweets"),
    }
    sentiment_task = load_objective("sentiment")
    plan = DataPlan(
        source=sentiment_task.default_source, train=4000, validation=1000, test=1500, shift=shift, shift_rows=500
    )
    splits = sentiment_task.splits(plan)
    assert [len(rows) for rows in (splits.train, splits.validation, splits.test)] == [4000, 1000, 1500]
    assert {name: len(rows) for name, rows in splits.shift.items()} == dict.fromkeys(shift, 500)
    assert sum(splits.train["label"]) == pytest.approx(0.496 * 4000, abs=2)
    baseline = sentiment_task.baseline(splits)
    assert baseline is not None
    assert 0.72 < baseline["val/accuracy"] < 0.82
    assert 0.72 < baseline["test/macro_f1"] < 0.82
    assert baseline["shift/product/accuracy"] < baseline["val/accuracy"] - 0.05


def test_shift_set_excludes_reviews_in_train() -> None:
    sentiment_task = load_objective("sentiment")
    plan = DataPlan(
        source=packaged("vader-movie"),
        validation=500,
        test=500,
        shift={"rt": packaged("movie-reviews-rt")},
        shift_rows=9000,
    )
    splits = sentiment_task.splits(plan)
    trained = {normalised(text) for text in splits.train["text"]}
    assert trained.isdisjoint(map(normalised, splits.shift["rt"]["text"]))
    assert len(splits.shift["rt"]) < 2000


@pytest.mark.parametrize(
    ("rule", "digests"),
    [
        (1, ["1f45d6f62fd8467e", "20f613f5018e0b98", "9285381400f360c4", "2d6c3f8c6f452af2"]),
        (2, ["fb3e01daa6702f37", "20f613f5018e0b98", "d66eebf22535f174", "e04f90ad6161451c"]),
    ],
)
def test_split_rules_keep_released_digests(rule: int, digests: list[str]) -> None:
    plan = DataPlan(
        source=packaged("vader-product"),
        train=1500,
        validation=300,
        test=300,
        seed=4,
        shift={"tweets": packaged("vader-tweets")},
        shift_rows=200,
        split_rule=rule,
    )
    assert [digest(rows) for rows in load_objective("sentiment").splits(plan).by_name().values()] == digests


def test_product_reviews_are_split_by_document() -> None:
    splits = load_objective("sentiment").splits(DataPlan(source=packaged("vader-product"), validation=400, test=400))
    groups = [set(rows["group"]) for rows in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert len(splits.train) > 1500


def test_topic_on_the_news() -> None:
    topic_task = load_objective("topic")
    splits = topic_task.splits(DataPlan(source=topic_task.default_source, train=600, validation=300, test=300))
    assert [len(rows) for rows in (splits.train, splits.validation, splits.test)] == [600, 300, 300]
    assert set(splits.test["label"]) == set(range(5))
    assert topic_task.measure([(0, 0), (1, 0), (2, 2)])["accuracy"] == pytest.approx(2 / 3)


PACKAGED = [name for name in objective_names() if load_objective(name).default_source.origin is Origin.PACKAGED]


@pytest.mark.parametrize("name", PACKAGED)
def test_default_data_fit_the_task(name: str) -> None:
    """``init`` offers them. The task reads them without a mapping of columns."""
    task = load_objective(name)
    splits = task.splits(DataPlan(source=task.default_source, train=300, validation=100, test=100))
    assert [len(rows) for rows in (splits.train, splits.validation, splits.test)] == [300, 100, 100]
    if name == "multi_label":
        assert {sum(vector) for vector in splits.train["label"][:]} >= {0.0, 1.0, 2.0}
    if name == "entities":
        assert all(splits.summary.label_counts["train"].values())


@pytest.mark.parametrize("name", ["headline", "headline_seq2seq"])
def test_headline_on_the_news(name: str) -> None:
    headline_task = load_objective(name)
    splits = headline_task.splits(DataPlan(source=headline_task.default_source, validation=200, test=200))
    assert len(splits.train) > 1600
    assert splits.train.column_names == ["text", "headline"]
    assert headline_task.baseline(splits) is None


def test_docs_example_objective_works() -> None:
    tickets = load_objective(str(EXAMPLE))
    splits = tickets.splits(DataPlan(source=tickets.default_source, validation=30, test=30))
    customers = [set(rows["group"]) for rows in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, customers)) == len(set.union(*customers))
    baseline = tickets.baseline(splits)
    assert baseline is not None
    assert baseline["val/accuracy"] > 0.6
    measured = tickets.measure([(1, 1), (0, 1), (2, 2), (1, 0)])
    assert set(measured) == set(tickets.metrics) - {"loss"}
    assert measured["missed_outages"] == 0.5


def test_shipped_tasks_load_by_name() -> None:
    assert [load_objective(task.name) for task in SHIPPED] == [*SHIPPED]
