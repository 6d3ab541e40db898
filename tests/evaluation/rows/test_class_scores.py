"""Scores of each class and target, and the worst rows, by hand."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.rows.class_scores import class_scores
from orchestrator.evaluation.rows.target_errors import target_errors
from orchestrator.evaluation.rows.worst_rows import FILE, worst_rows_sentence, write_worst_rows

ROWS = RowMeasures(losses=(0.1, 2.0, 0.3, 0.4), units=(1.0,) * 4, predictions=(0, 0, 1, 0), references=(0, 1, 1, 0))


def test_class_scores_by_hand() -> None:
    scores = class_scores(ROWS, ("a", "b", "absent"))
    assert scores is not None
    assert scores.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 0))
    assert [each.precision for each in scores.classes] == [pytest.approx(2 / 3), 1.0, None]
    assert [each.recall for each in scores.classes] == [1.0, 0.5, None]
    assert [each.f1 for each in scores.classes] == [pytest.approx(0.8), pytest.approx(2 / 3), None]
    assert scores.sentence == (
        "b has the lowest F1, 0.667 (1 of 2 rows found); the most frequent confusion: 1 row of b predicted as a"
    )
    assert class_scores(RowMeasures(losses=(1.0,), units=(1.0,)), ("a",)) is None


def test_worst_rows_are_ordered_by_mean_loss(tmp_path: Path) -> None:
    other = RowMeasures(
        losses=(0.1, 0.0, 3.0, 0.4), units=(1.0,) * 4, predictions=(0, 1, 0, 0), references=(0, 1, 1, 0)
    )
    write_worst_rows(tmp_path, [ROWS, other], ("a", "b"), ["one", "two", "three", "f" * 200_000])
    lines = (tmp_path / FILE).read_text().splitlines()
    assert lines[1:3] == ['2,1.6500,b,"b, a",three', '1,1.0000,b,"a, b",two']
    assert "row 2 of test has the highest loss, 1.6500 (label b, predicted as" in str(worst_rows_sentence(tmp_path))
    assert worst_rows_sentence(tmp_path / "none") is None


SETS = RowMeasures(
    losses=(0.1, 2.0, 0.3),
    units=(1.0,) * 3,
    class_sets=((0,), (0, 1), ()),
    true_class_sets=((0,), (1, 2), ()),
)
TRUE = ((1.0, 0.5), (5.0, 1.0), (0.0, -1.0))
NUMBERS = RowMeasures(
    losses=(0.25, 9.0, 0.0),
    units=(1.0,) * 3,
    numbers=((1.5, 0.0), (2.0, 4.0), (0.0, -1.0)),
    true_numbers=TRUE,
)


def worst(folder: Path) -> list[dict[str, str]]:
    with (folder / FILE).open(newline="") as stream:
        return [*csv.DictReader(stream)]


def test_several_labels_are_scored_by_class(tmp_path: Path) -> None:
    scores = class_scores(RowMeasures.from_json(json.loads(json.dumps(asdict(SETS)))), ("a", "b", "c"))
    assert scores is not None
    assert [(each.rows, each.predicted, each.hits) for each in scores.classes] == [(1, 2, 1), (1, 1, 1), (1, 0, 0)]
    assert [each.f1 for each in scores.classes] == [pytest.approx(2 / 3), 1.0, 0.0]
    assert scores.confusion == ()
    assert scores.sentence == "c has the lowest F1, 0.000 (0 of 1 rows found)"
    assert class_scores(SETS, ("a", "b")) is None
    write_worst_rows(tmp_path, [SETS], ("a", "b", "c"), ["one", "two", "three"])
    shown = [(row["row"], row["label"], row["predictions"]) for row in worst(tmp_path)]
    assert shown == [("1", "b, c", "a, b"), ("2", "(none)", "(none)"), ("0", "a", "a")]


def test_targets_have_errors_as_in_scikit_learn(tmp_path: Path) -> None:
    errors = target_errors(NUMBERS, ("joy", "anger"))
    assert errors is not None
    for place, found in enumerate(errors.targets):
        true, predicted = (np.array(side)[:, place] for side in (NUMBERS.true_numbers, NUMBERS.numbers))
        assert found.mean_absolute_error == pytest.approx(mean_absolute_error(true, predicted))
        assert found.root_mean_squared_error == pytest.approx(root_mean_squared_error(true, predicted))
        assert found.r2 == pytest.approx(r2_score(true, predicted))
        assert found.mean_error == pytest.approx((predicted - true).mean())
    assert errors.sentence.startswith("anger: R² -3.269, the lowest of 2 targets; mean absolute error 1.167, ")
    assert target_errors(ROWS, ("a", "b")) is None
    other = RowMeasures(losses=(1.0,) * 3, units=(1.0,) * 3, numbers=((1.5, 8.5),) * 3, true_numbers=TRUE)
    write_worst_rows(tmp_path, [NUMBERS, other], ("joy", "anger"), ["one", "two", "three"])
    assert worst(tmp_path)[0] == {
        "row": "1",
        "mean_loss": "5.0000",
        "label": "joy 5, anger 1",
        "predictions": "joy 2, anger 4 | joy 1.5, anger 8.5",
        "text": "two",
        "mean_absolute_error": "4.25",
    }
    assert "row 1 of test has the largest absolute error, 4.25 (label joy 5, anger 1, predicted as" in str(
        worst_rows_sentence(tmp_path)
    )


def test_worst_rows_of_entities_show_wrong_spans(tmp_path: Path) -> None:
    text = "Ann Lee came to Rome in May."
    true = ((0, 7, "person"), (16, 20, "place"), (24, 27, "date"))
    one, other = (
        RowMeasures(losses=(1.0, 2.0), units=(1.0,) * 2, spans=((), found), true_spans=((), true))
        for found in (true[1:], ((0, 3, "person"), (8, 12, "place"), true[1], true[2]))
    )
    write_worst_rows(tmp_path, [one, other], ("O", "B-person"), ["None.", text])
    first, second = worst(tmp_path)
    assert (first["text"], first["missed"]) == (text, "Ann Lee (person)")
    assert first["wrong"] == "Ann (person) | came (place)"
    assert (second["text"], second["missed"], second["wrong"]) == ("None.", "(none)", "(none)")
    assert str(worst_rows_sentence(tmp_path)).startswith("row 1 of test has the highest loss, 2.0000; ")
    assert RowMeasures.from_json(json.loads(json.dumps(asdict(other)))) == other


def test_worst_answers_have_the_lowest_f1(tmp_path: Path) -> None:
    rows = RowMeasures(
        losses=(0.1, 2.0, 3.0),
        units=(1.0,) * 3,
        answers=("May", "", "June"),
        scores={"f1": (1.0, 0.0, 0.5)},
    )
    write_worst_rows(tmp_path, [rows], ("start", "end"), ["q\nc"] * 3, ["May", "May | in May", "June 3"])
    shown = [(row["row"], row["target"], row["answers"], row["mean_f1"]) for row in worst(tmp_path)]
    assert shown == [
        ("1", "May | in May", "(none)", "0.0000"),
        ("2", "June 3", "June", "0.5000"),
        ("0", "May", "May", "1.0000"),
    ]
    assert "row 1 of test has the lowest F1, 0.0000, and" in str(worst_rows_sentence(tmp_path))
