"""Intervals and ties of test metrics, with values computed by hand or by the statistics they are made of."""

import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.entities.counts import COUNTS
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.evaluation.scores.score_intervals import adapter_ties, metric_intervals, seeds_interval
from orchestrator.evaluation.scores.seed_noise import assumed_sd, assumed_seed_sd, seed_sd
from orchestrator.promotion.gates.paired import paired_test
from orchestrator.statistics.intervals import mean_interval
from orchestrator.statistics.paired import paired_means
from orchestrator.statistics.row_metrics import macro_f1_interval


def rows(wrong: int, of: int = 100, first: int = 0) -> RowMeasures:
    """Return rows of two classes, with ``wrong`` wrong ones in sequence from ``first`` on."""
    true = tuple(row % 2 for row in range(of))
    predicted = tuple(1 - label if first <= row < first + wrong else label for row, label in enumerate(true))
    losses = tuple(2.0 if one != other else 0.1 for one, other in zip(predicted, true, strict=True))
    return RowMeasures(losses=losses, units=(1.0,) * of, predictions=predicted, references=true)


def metrics(measured: RowMeasures) -> dict[str, float]:
    pairs = [*zip(measured.predictions, measured.references, strict=True)]
    return {"loss": sum(measured.losses) / len(pairs), **classification_metrics(pairs, 2)}


def test_accuracy_interval_holds_rows_and_seeds() -> None:
    found = metric_intervals(metrics(rows(10)), rows(10), 15_000)["accuracy"]
    # Wilson's interval of 90 of 100 is 0.8256 to 0.9448; a seed adds 1.96 * 0.005 in squares to each distance.
    assert found.low == pytest.approx(0.9 - math.hypot(0.9 - 0.82563, 0.0098), abs=2e-5)
    assert found.high == pytest.approx(0.9 + math.hypot(0.94477 - 0.9, 0.0098), abs=2e-5)
    assert (found.rows, found.seed_sd, found.level) == (100, 0.005, 0.95)
    seeds = "of one seed (standard deviation between seeds assumed: 0.005)"
    assert found.sources == f"the noise of 100 test rows and {seeds}"


def test_other_intervals_hold_rows_alone() -> None:
    measured = rows(10)
    found = metric_intervals(metrics(measured), measured, 15_000)
    losses = np.array(measured.losses)
    assert found["loss"].high - losses.mean() == pytest.approx(1.98422 * losses.std(ddof=1) / 10, rel=1e-5)
    assert found["loss"].seed_sd is None
    assert found["loss"].sources == "the noise of 100 test rows alone (seed noise unknown)"


def test_macro_f1_has_the_seed_noise_of_accuracy_scaled() -> None:
    two, rare = rows(10), replace(rows(10), references=(1,) * 4 + (0,) * 96, predictions=(1, 1, 0, 0, 1) + (0,) * 95)
    for measured, ratio in ((two, 1.0), (rare, 4.0)):  # a row of a class of four changes its F1 by about 0.25
        value = metrics(measured)["macro_f1"]
        found = metric_intervals({"macro_f1": value}, measured, 400)["macro_f1"]
        references, predictions = np.array(measured.references), np.array(measured.predictions)
        plain = macro_f1_interval(predictions, references, np.random.default_rng(0))
        assert found.seed_sd is not None
        assert found.seed_sd == pytest.approx(0.0125 * ratio, rel=0.25)
        expected = value - math.hypot(value - plain.low, 1.96 * found.seed_sd)
        assert found.low == pytest.approx(max(0.0, expected), abs=1e-5)
    one = replace(two, references=(1,) + (0,) * 999, predictions=(0,) * 1000)  # macro-F1 is 0.49975; the ratio is 21
    assert assumed_sd("macro_f1", one, 25) == pytest.approx(0.5, abs=1e-4)  # not 1.06: no values in [0, 1] have that
    assert assumed_sd("loss", two, 400) is None
    assert assumed_sd("macro_f1", replace(two, predictions=two.references), 400) == 0.0125


def test_perplexity_interval_follows_from_loss() -> None:
    measured = RowMeasures(losses=(4.0, 9.0, 2.0, 8.0), units=(2.0, 3.0, 2.0, 4.0))
    mean = 23 / 11
    found = metric_intervals({"loss": mean, "perplexity": math.exp(mean)}, measured, 15_000)
    assert found["perplexity"].low == pytest.approx(math.exp(found["loss"].low))
    assert found["perplexity"].high == pytest.approx(math.exp(found["loss"].high))


def test_perfect_accuracy_stays_a_share() -> None:
    found = metric_intervals(metrics(rows(0)), rows(0), 15_000)
    assert found["accuracy"].high == 1.0
    assert found["accuracy"].low == pytest.approx(1 - math.hypot(0.036995, 0.0098), abs=2e-5)
    assert found.keys() == {"accuracy"}  # the rows show no spread of the loss and of macro-F1


@pytest.mark.parametrize(
    ("values", "measured"),
    [
        ({"accuracy": 0.7}, rows(10)),  # an objective's own accuracy
        ({"own": 0.9}, rows(10)),
        ({"loss": math.nan}, rows(10)),
        ({"accuracy": 1.0, "loss": 0.1}, rows(0, of=1)),
        ({"accuracy": 0.9}, RowMeasures(losses=(0.1, 0.2), units=(1.0, 1.0))),
        ({"loss": 1.0}, RowMeasures(losses=(), units=())),
    ],
)
def test_unknown_metric_has_no_interval(values: dict[str, float], measured: RowMeasures) -> None:
    assert metric_intervals(values, measured, 15_000) == {}


@pytest.mark.parametrize("metric", ["accuracy", "loss", "macro_f1"])
def test_equal_adapters_are_tied_and_worse_are_not(metric: str) -> None:
    found = adapter_ties(metric, {7: rows(12, first=50), 0: rows(10), 3: rows(45)})
    assert found is not None
    assert found.members == (0, 7)
    assert [each.trial for each in found.worse] == [3]
    assert found.rows == 100
    if metric == "accuracy":  # 10 and 12 discordant rows: P = 0.8318 of the exact test; the largest of two, so factor 1
        assert found.p_value == pytest.approx(0.83181, abs=1e-4)


def test_ties_need_the_same_rows() -> None:
    assert adapter_ties("accuracy", {0: rows(10)}) is None
    assert adapter_ties("accuracy", {}) is None
    assert adapter_ties("accuracy", {0: rows(10), 1: rows(10, of=90)}) is None
    assert adapter_ties("own", {0: rows(10), 1: rows(12)}) is None


@pytest.mark.parametrize(
    ("training_rows", "sd"), [(None, 0.005), (15_000, 0.005), (400, 0.0125), (200, 0.0177), (8, 0.05)]
)
def test_seed_noise_follows_training_rows(training_rows: int | None, sd: float) -> None:
    assert assumed_seed_sd(training_rows) == pytest.approx(sd, abs=5e-5)
    found = metric_intervals(metrics(rows(10)), rows(10), training_rows)["accuracy"]
    assert found.seed_sd == assumed_seed_sd(training_rows)


def entities(seed: int, found: float, of: int = 200) -> RowMeasures:
    """Return rows with two true entities each, of which an adapter finds a share."""
    generator = np.random.default_rng(seed)
    right = generator.binomial(2, found, of).astype(float)
    scores = dict(zip(COUNTS, (right, right + generator.binomial(1, 0.2, of), np.full(of, 2.0)), strict=True))
    named = {name: tuple(values.tolist()) for name, values in scores.items()}
    return RowMeasures(losses=(1.0,) * of, units=(1.0,) * of, scores=named)


def test_f1_of_entities_over_seeds_holds_both_noises() -> None:
    equal = [entities(0, 0.7)] * 3
    apart = [entities(0, 0.6), entities(0, 0.7), entities(0, 0.8)]
    alike, different = (seeds_interval("f1", seeds, 15_000) for seeds in (equal, apart))
    assert alike is not None
    assert different is not None
    assert alike.seed_sd == 0
    assert different.seed_sd == pytest.approx(0.09, abs=0.04)
    assert different.high - different.low > 3 * (alike.high - alike.low)
    assert (different.seeds, different.rows) == (3, 200)
    measured = seed_sd("f1", apart[0], 15_000, apart)
    assert (measured.value, measured.origin) == (different.seed_sd, "measured with 3 fresh seeds")


def windowed(windows: int, wrong: int, key: str = "") -> RowMeasures:
    """Return 100 rows of questions, each with some windows."""
    scores = tuple(float(row >= wrong) for row in range(100))
    keys = tuple(f"{key}{row}" for row in range(100))
    units = (float(windows),) * 100
    return RowMeasures(losses=units, units=units, scores={"exact_match": scores}, keys=keys)


def test_rows_of_windows_are_paired_by_key() -> None:
    short, long = windowed(3, 40), windowed(1, 10)
    found = adapter_ties("exact_match", {0: short, 1: long})
    assert found is not None
    assert (found.members, [each.trial for each in found.worse]) == ((1,), [0])
    assert adapter_ties("loss", {0: short, 1: long}) is None  # a row has another number of windows
    assert paired_test("loss", short, long) is None
    assert adapter_ties("exact_match", {0: short, 1: windowed(1, 10, key="other")}) is None


def test_metrics_with_a_value_per_row_have_intervals_and_tests() -> None:
    values = (np.array([0.0, 0.5, 1.0, 1.0]), np.array([0.0, 0.5, 0.5, 0.25]))
    measured = [
        RowMeasures(losses=(1.0,) * 4, units=(1.0,) * 4, scores={"f1": tuple(map(float, each))}) for each in values
    ]
    found = metric_intervals({"f1": 0.625, "other": 0.5}, measured[0], None)
    expected = mean_interval(values[0])
    assert found.keys() == {"f1"}
    assert (found["f1"].low, found["f1"].high, found["f1"].seed_sd) == (0.0, 1.0, None)
    assert (expected.low, expected.high) == pytest.approx((-0.137, 1.387), abs=1e-3)  # Student's ends are no shares
    test = paired_test("f1", *measured)
    assert test is not None
    assert test.difference == paired_means(*values).difference
    ties = adapter_ties("f1", {3: measured[0], 7: measured[1]})
    assert ties is not None
    assert ties.best == 3
    seeds = seeds_interval("f1", measured, None)
    assert seeds is not None
    assert seeds.low < np.mean(values) < seeds.high
