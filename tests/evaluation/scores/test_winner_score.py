"""The winner's validation score, corrected for the choice among noisy trials."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.goal import Constraint, goal
from orchestrator.core.trials.manifest import Owner
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.entities.counts import COUNTS
from orchestrator.evaluation.measurement_file import KEPT_VALIDATION, kept_test_file, kept_validation, write_measurement
from orchestrator.evaluation.metrics import classification_metrics
from orchestrator.evaluation.scores.winner_score import corrected_winner
from tests.report.examples import make_records

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)
ROWS = 400


def scored(record: TrialRecord, value: float) -> TrialRecord:
    """Return the trial with one report of this accuracy."""
    first = record.reports[0]
    report = replace(first, metrics={**first.metrics, "val/accuracy": value})
    return replace(record, reports=(report,))


def store(folder: Path, record: TrialRecord, correct_n: np.ndarray) -> TrialRecord:
    """Write the validation rows of a kept adapter; return its trial with their accuracy."""
    references = tuple(row % 2 for row in range(ROWS))
    predictions = tuple(label if right else 1 - label for label, right in zip(references, correct_n, strict=True))
    rows = RowMeasures(losses=(0.5,) * ROWS, units=(1.0,) * ROWS, predictions=predictions, references=references)
    trial = scored(record, float(correct_n.mean()))
    file = kept_test_file(folder, trial.number).with_name(KEPT_VALIDATION)
    samples = trial.reports[0].nominal_samples
    measured = Measurement(metrics={"accuracy": float(correct_n.mean())}, rows=rows)
    write_measurement(file, samples, Owner(sweep="k", task=trial.task), measured)
    return trial


def sweep(folder: Path, seed: int, trials: int = 8) -> list[TrialRecord]:
    """Return trials of equal true accuracy 0.8; the best three have stored rows."""
    generator = np.random.default_rng(seed)
    correct_kn = generator.random((trials, ROWS)) < 0.8
    best = np.argsort(-correct_kn.mean(axis=1))[:3]
    records = [record for record in make_records() if record.reports][:trials]
    return [
        store(folder, record, correct_kn[place]) if place in best else scored(record, float(correct_kn[place].mean()))
        for place, record in enumerate(records)
    ]


def test_lucky_winner_is_corrected_downwards(tmp_path: Path) -> None:
    """Of eight equal trials the best looks better than 0.8; the corrected values do not, on average."""
    found = [
        corrected_winner(tmp_path / str(seed), sweep(tmp_path / str(seed), seed), ACCURACY, 15_000)
        for seed in range(40)
    ]
    scores = [score for score in found if score is not None]
    assert len(scores) == 40
    assert np.mean([score.raw for score in scores]) > 0.82
    assert abs(np.mean([score.value for score in scores]) - 0.8) < 0.012
    covered = sum(score.low <= 0.8 <= score.high for score in scores)
    assert covered >= 35, "95 % of 40; fewer has a probability of 2 %"
    assert {(score.rows, score.trials) for score in scores} == {(ROWS, 8)}


def test_sentence_names_both_values(tmp_path: Path) -> None:
    score = corrected_winner(tmp_path, sweep(tmp_path, 1), ACCURACY, 15_000)
    assert score is not None
    assert f"{score.raw:.4f}, the best of 8 trials; corrected for this choice: {score.value:.3f}" in score.sentence
    assert "400 validation rows, one seed" in score.sentence


def with_losses(folder: Path, seed: int) -> list[TrialRecord]:
    """Return eight trials of equal true loss 0.5, all with stored rows."""
    generator = np.random.default_rng(seed)
    common_n = generator.exponential(0.3, ROWS)  # rows are hard or easy for all trials
    found = []
    for record in [record for record in make_records() if record.reports][:8]:
        losses_n = common_n + generator.exponential(0.2, ROWS)
        first = record.reports[0]
        metrics = {**first.metrics, "val/loss": float(losses_n.mean())}
        trial = replace(record, reports=(replace(first, metrics=metrics),))
        labels = (0, 1) * (ROWS // 2)
        rows = RowMeasures(losses=tuple(losses_n.tolist()), units=(1.0,) * ROWS, predictions=labels, references=labels)
        file = kept_test_file(folder, trial.number).with_name(KEPT_VALIDATION)
        measured = Measurement(metrics={"loss": float(losses_n.mean())}, rows=rows)
        write_measurement(file, first.nominal_samples, Owner(sweep="k", task=trial.task), measured)
        found.append(trial)
    return found


def test_lucky_loss_is_corrected_upwards(tmp_path: Path) -> None:
    loss = Metric(name="val/loss", direction=Direction.MINIMIZE)
    found = [
        corrected_winner(tmp_path / str(seed), with_losses(tmp_path / str(seed), seed), loss, 15_000)
        for seed in range(40)
    ]
    scores = [score for score in found if score is not None]
    assert len(scores) == 40
    assert np.mean([score.raw for score in scores]) < 0.49
    assert abs(np.mean([score.value for score in scores]) - 0.5) < 0.01
    covered = sum(score.low <= 0.5 <= score.high for score in scores)
    assert covered >= 35, "95 % of 40; fewer has a probability of 2 %"
    assert "400 validation rows, without the unknown noise of seeds" in scores[0].sentence


def with_values(folder: Path, seed: int, name: str, unit: float = 1.0) -> list[TrialRecord]:
    """Return eight equally good trials, three of them with stored rows, and values of a metric that is no accuracy."""
    generator = np.random.default_rng(seed)
    records = [record for record in make_records() if record.reports][:8]
    references = tuple(row % 3 for row in range(ROWS))
    measured = []
    for _ in records:
        right_n = generator.random(ROWS) < 0.8
        predictions = tuple((each + 1 - int(ok)) % 3 for each, ok in zip(references, right_n, strict=True))
        both: dict[str, Any] = {"losses": (0.5,) * ROWS, "units": (1.0,) * ROWS}
        if name == "macro_f1":
            value = classification_metrics([*zip(predictions, references, strict=True)], 3)["macro_f1"]
            rows = RowMeasures(**both, predictions=predictions, references=references)
        elif name == "f1":  # of two true entities and as many predicted ones in each row
            found_n, two = generator.binomial(2, 0.8, ROWS), (2.0,) * ROWS
            value = float(found_n.mean()) / 2
            scores = dict(zip(COUNTS, (tuple(map(float, found_n)), two, two), strict=True))
            rows = RowMeasures(**both, scores=scores)
        else:
            value = unit * float(right_n.mean())
            rows = RowMeasures(**both, scores={name: tuple((unit * right_n).tolist())})
        measured.append(Measurement(metrics={name: value}, rows=rows))
    best = np.argsort([-each.metrics[name] for each in measured])[:3]
    found = []
    for place, (record, measurement) in enumerate(zip(records, measured, strict=True)):
        first = record.reports[0]
        report = replace(first, metrics={**first.metrics, f"val/{name}": measurement.metrics[name]})
        trial = replace(record, reports=(report,))
        if place in best:
            file = kept_test_file(folder, trial.number).with_name(KEPT_VALIDATION)
            write_measurement(file, report.nominal_samples, Owner(sweep="k", task=trial.task), measurement)
        found.append(trial)
    return found


@pytest.mark.parametrize("name", ["macro_f1", "f1", "exact_match"])
def test_lucky_winner_of_other_metrics_is_corrected(tmp_path: Path, name: str) -> None:
    metric = Metric(name=f"val/{name}", direction=Direction.MAXIMIZE)
    found = [
        corrected_winner(tmp_path / str(seed), with_values(tmp_path / str(seed), seed, name), metric, 15_000)
        for seed in range(24)
    ]
    scores = [score for score in found if score is not None]
    assert len(scores) == 24
    assert np.mean([score.raw for score in scores]) > 0.815
    assert abs(np.mean([score.value for score in scores]) - 0.8) < 0.015
    covered = sum(score.low <= 0.8 <= score.high for score in scores)
    assert covered >= 21, "95 % of 24; fewer has a probability of 3 %"
    noise = "one seed" if name == "macro_f1" else "without the unknown noise of seeds"
    assert noise in scores[0].sentence


def test_score_in_percent_keeps_its_interval(tmp_path: Path) -> None:
    metric = Metric(name="val/exact_match", direction=Direction.MAXIMIZE)
    shares = corrected_winner(tmp_path / "shares", with_values(tmp_path / "shares", 3, "exact_match"), metric, 15_000)
    percents = corrected_winner(
        tmp_path / "percents", with_values(tmp_path / "percents", 3, "exact_match", unit=100.0), metric, 15_000
    )
    assert shares is not None
    assert percents is not None
    assert percents.low < percents.value < percents.high
    assert [percents.low, percents.value, percents.high] == pytest.approx(
        [100 * each for each in (shares.low, shares.value, shares.high)], abs=1
    )


def test_accuracy_of_another_definition_is_not_corrected(tmp_path: Path) -> None:
    trials = sweep(tmp_path, 1)
    for trial in trials:
        if (stored := kept_validation(tmp_path, trial, ACCURACY)) is not None:
            in_percent = replace(stored, metrics={"accuracy": 100 * stored.metrics["accuracy"]})
            file = kept_test_file(tmp_path, trial.number).with_name(KEPT_VALIDATION)
            write_measurement(file, trial.reports[0].nominal_samples, Owner(sweep="k", task=trial.task), in_percent)
    assert corrected_winner(tmp_path, trials, ACCURACY, 15_000) is None


@pytest.mark.parametrize("name", ["val/perplexity", "gap/loss"])
def test_metric_without_rows_is_not_corrected(tmp_path: Path, name: str) -> None:
    assert (
        corrected_winner(tmp_path, sweep(tmp_path, 1), Metric(name=name, direction=Direction.MAXIMIZE), 15_000) is None
    )


def test_without_stored_rows_nothing_is_corrected(tmp_path: Path) -> None:
    records = sweep(tmp_path / "elsewhere", 1)
    assert corrected_winner(tmp_path, records, ACCURACY, 15_000) is None


def test_trials_outside_constraints_are_no_rivals(tmp_path: Path) -> None:
    within = goal(ACCURACY, constraints=[Constraint(name="gap/loss", max=5.0)])
    records = sweep(tmp_path, 0)
    better = replace(scored(records[-1], 0.99), number=99)
    report = replace(better.reports[0], metrics={**better.reports[0].metrics, "gap/loss": 9.0})
    found = corrected_winner(tmp_path, [*records, replace(better, reports=(report,))], within, 15_000)
    inside = [record for record in records if record.violation(within) == 0]
    assert found is not None
    assert found.raw < 0.99
    assert found == corrected_winner(tmp_path, inside, ACCURACY, 15_000)
