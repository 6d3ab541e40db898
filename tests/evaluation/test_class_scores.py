"""Scores of each class, and the worst rows, by hand."""

from pathlib import Path

import pytest

from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.class_scores import class_scores
from orchestrator.evaluation.worst_rows import FILE, worst_rows_sentence, write_worst_rows

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
