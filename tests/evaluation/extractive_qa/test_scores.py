"""Exact match and F1 of SQuAD's definition, the tuned threshold, and the baseline."""

import datasets
import pytest

from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.extractive_qa.answer_scores import AnswerScore, answer_scores
from orchestrator.evaluation.extractive_qa.baseline import overlap_baseline, sentences_of
from orchestrator.evaluation.extractive_qa.row_scores import (
    answer_metrics,
    row_scores,
    tuned_metrics,
    tuned_threshold,
)
from orchestrator.evaluation.extractive_qa.squad import character_f1, exact_match, f1, normalise
from orchestrator.objective.extractive_qa.answer_spans import Answer, RowAnswers
from orchestrator.objective.protocol import Splits


def answered(text: str, margin: float = -1.0) -> RowAnswers:
    return RowAnswers(no_answer=margin, best=[Answer(text=text, start=0, end=len(text), score=0.0)])


def test_texts_are_normalised_as_in_squad() -> None:
    assert normalise("  The U.S.A., an  Ant-hill! ") == "usa anthill"
    assert normalise("theatre a") == "theatre"


@pytest.mark.parametrize(
    ("predicted", "true", "exact", "words", "characters"),
    [
        ("the Eiffel Tower", ["Eiffel tower!"], 1.0, 1.0, 22 / 25),
        ("tall Eiffel Tower", ["Eiffel Tower"], 0.0, 0.8, 22 / 26),
        ("May May May", ["May"], 0.0, 0.5, 0.5),
        ("1999", ["May 1999", "1999"], 1.0, 1.0, 1.0),
        ("", ["May"], 0.0, 0.0, 0.0),
        ("", [], 1.0, 1.0, 1.0),
        ("May", [], 0.0, 0.0, 0.0),
        ("the", ["a", "May"], 0.0, 0.0, 0.0),  # "a" normalises to nothing and does not count beside "May"
        ("東京都", ["東京。"], 0.0, 0.0, 0.8),
    ],
)
def test_scores_follow_the_definition(
    predicted: str, true: list[str], exact: float, words: float, characters: float
) -> None:
    assert exact_match(predicted, true) == exact
    assert f1(predicted, true) == pytest.approx(words)
    assert character_f1(predicted, true) == pytest.approx(characters)


def test_split_without_unanswerable_rows_is_always_answered() -> None:
    pairs = [(answered("May", 5.0), ["May"]), (answered("June", 5.0), ["July"])]
    assert answer_metrics(pairs)["f1"] == 0.5
    assert tuned_threshold(row_scores(pairs)) is None


def measured(pairs: list[tuple[RowAnswers, list[str]]]) -> Measurement:
    ones, answers = (1.0,) * len(pairs), tuple(found.text(None) for found, _ in pairs)
    scores = {name: tuple(values) for name, values in row_scores(pairs).items()}
    return Measurement(metrics={}, rows=RowMeasures(losses=ones, units=ones, scores=scores, answers=answers))


def test_rows_without_answers_are_scored_apart() -> None:
    validation = measured([(answered("May", 1.0), ["May"]), (answered("May", 2.0), [])])
    test = measured(
        [
            (answered("May", 0.5), ["May"]),
            (answered("May", 1.5), ["May"]),
            (answered("in May", -1.0), ["May"]),
            (answered("May", 0.9), []),
            (answered("May", 3.0), []),
            (answered("May", 4.0), []),
        ]
    )
    found = answer_scores(test, validation)
    assert found is not None
    assert found.threshold == 1.0
    assert found.answerable is not None
    assert (found.answerable.rows, found.answerable.exact_match) == (3, 1 / 3)
    assert found.answerable.f1 == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert found.unanswerable == AnswerScore(rows=3, exact_match=2 / 3, f1=2 / 3)
    assert found.sentence.startswith("3 rows with an answer: F1 0.556, exact match 0.333; 3 rows without an answer: ")
    whole = answer_scores(measured([(answered("May", 5.0), ["May"])]), None)
    assert whole is not None
    assert whole.sentence == "1 rows with an answer: F1 1.000, exact match 1.000"


def test_threshold_maximises_f1() -> None:
    pairs = [
        (answered("May", -2.0), ["May"]),
        (answered("May", 1.0), ["May"]),
        (answered("May", 1.0), ["May"]),
        (answered("May", 2.0), []),
        (RowAnswers(no_answer=0.0, best=[]), []),
        (answered("June", 0.5), ["May"]),
    ]
    scores = row_scores(pairs)
    assert answer_metrics(pairs)["f1"] == pytest.approx(3 / 6)
    threshold = tuned_threshold(scores)
    assert threshold == 1.0
    assert tuned_metrics(scores, threshold)["tuned_f1"] == pytest.approx(5 / 6)
    best = max(tuned_metrics(scores, float(at))["tuned_f1"] for at in range(-5, 5))
    assert tuned_metrics(scores, threshold)["tuned_f1"] == best


def test_never_an_answer_may_be_best() -> None:
    scores = row_scores([(answered("May", -1.0), []), (answered("May", -2.0), []), (answered("May", 3.0), ["June"])])
    threshold = tuned_threshold(scores)
    assert threshold == -3.0
    assert tuned_metrics(scores, threshold)["tuned_exact_match"] == pytest.approx(2 / 3)


def test_baseline_answers_near_the_words_of_the_question() -> None:
    rows = datasets.Dataset.from_list(
        [
            {
                "text": f"When did the {thing} open?",
                "text_pair": f"It was cold in London. The {thing} did open {year} 🙂. Nobody came.",
                "answers": {"text": [year], "answer_start": [0]},
            }
            for thing, year in (("hall", "1999"), ("school", "2001"), ("bridge", "1887"))
        ]
    )
    found = overlap_baseline(Splits(train=rows, validation=rows, test=rows, shift={}))
    assert {*found} == {
        f"{split}/{name}" for split in ("val", "test") for name in ("exact_match", "f1", "character_f1")
    }
    assert found["test/exact_match"] == 1.0
    assert sentences_of("One. Two 3.5?\nThree。四！五") == ["One.", "Two 3.5?", "Three。", "四！", "五"]
