"""Metrics of answers equal the reference implementations, and hold for languages without spaces."""

import pytest
from sacrebleu.metrics.bleu import BLEU

from orchestrator.core.tasks.generation import GENERATION_METRICS, GenerationPlan
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.evaluation.generation.answers import LEFT_OUT, Answer, score
from orchestrator.evaluation.generation.metrics import bleu, row_scores
from orchestrator.evaluation.generation.tokens import tokens
from orchestrator.evaluation.scores.score_intervals import adapter_ties, metric_intervals


@pytest.mark.parametrize(
    ("answer", "reference", "expected"),  # measured with rouge-score 0.1.2, without stemmer
    [
        ("The cat sat on the mat.", "the cat was sitting on the mat", (0.769231, 0.545455, 0.769231)),
        ("a b c d", "d c b a", (1.0, 0.0, 0.25)),
        ("UK economy grows 0.3%", "Economy of the UK grows by 0.3%", (0.769231, 0.181818, 0.615385)),
        ("the the the cat", "the cat the hat", (0.75, 0.333333, 0.5)),
        ("", "x", (0.0, 0.0, 0.0)),
    ],
)
def test_rouge_equals_rouge_score(answer: str, reference: str, expected: tuple[float, ...]) -> None:
    found = row_scores([answer], [reference])
    assert [found[name][0] for name in ("rouge_1", "rouge_2", "rouge_l")] == pytest.approx(expected, abs=1e-6)


def test_tokens_of_several_scripts() -> None:
    assert tokens("Don't STOP, 3.5!") == ["don", "t", "stop", "3", "5"]
    assert tokens("猫がPython3で泣いたー") == ["猫", "が", "python3", "で", "泣", "い", "た", "ー"]
    assert tokens("Ｔｏｋｙｏ café हिन्दी भाषा") == ["tokyo", "café", "हिन्दी", "भाषा"]
    assert tokens("ที่นี่") == ["ที่", "นี่"]
    assert tokens("…!") == []


def test_japanese_answers_are_told_apart() -> None:
    wrong, right = row_scores(["犬が3匹いる", "猫が座った"], ["空は3色だ", "猫は座った"])["rouge_l"]
    assert wrong == pytest.approx(1 / 5.5)  # the digit alone; rouge-score gives 1
    assert right == pytest.approx(0.8)
    assert bleu(["猫が座って鳴いた"], ["猫が座って泣いた"]) == pytest.approx(
        BLEU(tokenize="char").corpus_score(["猫が座って鳴いた"], [["猫が座って泣いた"]]).score
    )
    assert bleu(["a cat sat there"], ["a cat sat here"]) == pytest.approx(
        BLEU().corpus_score(["a cat sat there"], [["a cat sat here"]]).score
    )


def test_scores_are_stored_by_row() -> None:
    references = ["good film", "a bad plot", "fine music", "nice"]
    ours = [Answer(text=text, cut=False) for text in ("good film", "bad plot", "fine", "nice")]
    theirs = [Answer(text=text, cut=False) for text in ("film", "a plot", "fine music", "sad")]
    measured = Measurement(metrics={"loss": 1.0}, rows=RowMeasures(losses=(1.0,) * 6, units=(1.0,) * 6))
    both = [score(each, references, GENERATION_METRICS).added_to(measured) for each in (ours, theirs)]
    assert both[0].metrics.keys() == {"loss", *GENERATION_METRICS}
    assert both[0].metrics["exact_match"] == 0.5
    assert both[0].rows.answers == ("good film", "bad plot", "fine", "nice")
    intervals = metric_intervals(both[0].metrics, both[0].rows, None)
    assert intervals["rouge_l"].rows == 4
    assert intervals["rouge_l"].low < both[0].metrics["rouge_l"] < intervals["rouge_l"].high
    assert "bleu" not in intervals  # a value of all rows together
    ties = adapter_ties("rouge_l", {0: both[0].rows, 1: both[1].rows})
    assert ties is not None


def test_unfinished_answers_count_as_empty() -> None:
    answers = [Answer(text="good film", cut=False), LEFT_OUT]
    scored = score(answers, ["good film", "a bad plot"], {"rouge_l": None, "bleu": None})
    assert scored.metrics["rouge_l"] == 0.5
    assert scored.scores["rouge_l"] == (1.0, 0.0)
    assert scored.metrics["unfinished_answers"] == 1.0
    assert scored.answers == ("good film", "(not finished in time)")


def test_answers_are_due_at_chosen_reports() -> None:
    points = (10, 20, 30, 40, 50)
    due = {
        every: [point for point in points if GenerationPlan(max_new_tokens=1, every=every).is_due(point, points)]
        for every in (None, 1, 2, 4, 9)
    }
    assert due == {None: [], 1: [*points], 2: [20, 40, 50], 4: [40, 50], 9: [50]}
