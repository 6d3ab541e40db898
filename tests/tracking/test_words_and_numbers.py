"""Texts and metrics of runs, computed from records; and addresses."""

import dataclasses
import json
import re
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlparse

from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.tracking.runs import wording
from orchestrator.tracking.runs.description import sweep_key
from orchestrator.tracking.runs.summary import summary, sweep_points, trial_points
from orchestrator.tracking.ui.links import runs_url, view_url
from orchestrator.tracking.ui.ui_view import ALL_VIEW, FILTER, VIEW_TAG, view_tags
from tests.counting import counted, record_reads
from tests.tracking.records import ACCURACY, description, report, sweep, trial

LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)


def test_the_summary_belongs_to_one_checkpoint() -> None:
    assert summary(2000, report(0, 2, 0.8, 0.5).metrics) == {
        "samples_at_best": 2000,
        "best_val_loss": 0.5,
        "best_val_accuracy": 0.8,
        "train_loss_at_best": 0.4,
        "train_accuracy_at_best": 0.8500000000000001,
        "overfit_gap_at_best": 0.1,
        "accuracy_gap_at_best": 0.05,
    }


def test_points_use_record_times_after_the_cursor() -> None:
    record = trial(3, (0.7, 0.6, 0.8), TrialState.COMPLETE)
    points = trial_points(record, ACCURACY, after=1000)
    assert {point.step for point in points} == {2000, 3000}
    best = {point.step: point.value for point in points if point.name == "best_val_accuracy"}
    assert best == {2000: 0.7, 3000: 0.8}
    assert {point.timestamp_ms for point in points} == {round(r.ended_at * 1000) for r in record.reports[1:]}
    assert trial_points(record, ACCURACY, after=3000) == []


def test_final_metrics_belong_to_best_checkpoint() -> None:
    record = dataclasses.replace(trial(0, (0.9, 0.6), TrialState.COMPLETE), final={"shift/très (new)/loss": 1.0})
    [point] = trial_points(record, ACCURACY, after=2000)
    assert (point.name, point.step) == ("shift/très _new_/loss", 1000)


def again(number: int, accuracies: tuple[float, ...], accuracy: float) -> TrialRecord:
    """A trial whose best checkpoint was measured again, exactly."""
    measured = {"val/accuracy": accuracy, "val/loss": 0.6, "train/loss": 0.3, "gap/loss": 0.3, "test/accuracy": 0.5}
    return dataclasses.replace(trial(number, accuracies, TrialState.COMPLETE), final=measured)


def test_run_shows_the_last_measurement() -> None:
    points = trial_points(again(0, (0.9, 0.6), accuracy=0.8), ACCURACY, after=0)
    shown = {point.name: point for point in sorted(points, key=lambda point: (point.step, point.timestamp_ms))}
    assert shown["best_val_accuracy"].value == 0.8
    assert shown["best_val_loss"].value - shown["train_loss_at_best"].value == shown["overfit_gap_at_best"].value
    assert (shown["test/accuracy"].value, shown["test/accuracy"].step) == (0.5, 1000)
    places = [(point.name, point.step, point.timestamp_ms) for point in points]
    assert len(set(places)) == len(places), "MLflow would choose between two values"
    assert [point.value for point in points if point.name == "val/accuracy"] == [0.9, 0.6]  # the curve does not change
    points = sweep_points([again(0, (0.9,), accuracy=0.8)], ACCURACY, after=0)
    assert max(points, key=lambda point: (point.name == "best_val_accuracy", point.timestamp_ms)).value == 0.8
    assert not [point for point in points if point.name == "val/accuracy"]


def test_sweep_points_follow_the_order_of_ends() -> None:
    late = dataclasses.replace(trial(0, (0.9,), TrialState.COMPLETE), ended_at=2e9)
    points = sweep_points([late, trial(1, (0.7,), TrialState.PRUNED), trial(2, (0.95,))], ACCURACY, after=0)
    assert [(p.step, p.value) for p in points if p.name == "best_val_accuracy"] == [(1, 0.7), (2, 0.9)]


def test_best_so_far_takes_one_pass() -> None:
    work = []
    for trials in (50, 200):
        records = [counted(trial(number, (0.001 * number,), TrialState.PRUNED)) for number in range(trials)]
        with record_reads() as reads:
            points = sweep_points(records, ACCURACY, after=0)
        assert {point.step for point in points} == set(range(1, trials + 1))
        work.append(reads.count)
    assert work[1] <= 5 * work[0]  # four times the trials; one pass for each would be 16


def test_values_read_as_in_yaml() -> None:
    values = {"a": 3e-4, "b": 0.1 + 0.2, "c": True, "d": None, "e": 8, "f": "linear", "g": 32.0}
    assert list(wording.texts(values).values()) == ["0.0003", "0.3", "true", "null", "8", "linear", "32"]


def test_run_status_follows_trial_and_sweep() -> None:
    statuses = {
        (state, sweep_status): wording.run_status(state, sweep_status)
        for state in TrialState
        for sweep_status in SweepStatus
    }
    assert {status for (state, _), status in statuses.items() if state is TrialState.PRUNED} == {"FINISHED"}
    assert {status for (state, _), status in statuses.items() if state is TrialState.FAIL} == {"FAILED"}
    assert statuses[TrialState.RUNNING, SweepStatus.INTERRUPTED] == "SCHEDULED"
    assert statuses[TrialState.RUNNING, SweepStatus.RUNNING] == "RUNNING"
    left = wording.trial_tags(trial(3, (0.5,)), sweep(status=SweepStatus.FINISHED), description())
    assert left["state"] == "suspended"


def test_sweep_key_is_unique() -> None:
    keys = {
        sweep_key(sweep()),
        sweep_key(sweep(generation=2)),
        sweep_key(sweep("books")),
        sweep_key(dataclasses.replace(sweep(), created_at=1.0)),  # the same name in another ledger
    }
    assert len(keys) == 4
    assert sweep_key(dataclasses.replace(sweep(), status=SweepStatus.FINISHED, facts=SweepFacts())) in keys


def test_descriptions_name_result_and_settings() -> None:
    note = wording.trial_tags(trial(7, (0.7, 0.8), TrialState.PRUNED), sweep(), description())[wording.NOTE_TAG]
    assert "**trial-007** of films#1: pruned (reached its budget)" in note
    assert "Best val/accuracy 0.8000 at 2,000 samples." in note
    assert "| learning_rate | 0.0008 |" in note
    tags = wording.sweep_tags(sweep(), [trial(0, (0.7,), TrialState.COMPLETE), trial(1, (0.9,))], description())
    assert tags["best_params"] == "learning_rate=0.0001, rank=8"
    first = tags[wording.NOTE_TAG].split("\n")[2]
    assert first == "Best val/accuracy: 0.7000, trial-000."
    assert "promote 'films#1'" in tags[wording.NOTE_TAG]
    assert "running: 1 running, 1 complete." in tags[wording.NOTE_TAG]
    stopped = sweep(status=SweepStatus.INTERRUPTED)
    note = wording.sweep_tags(stopped, [trial(1, (0.9,))], description())[wording.NOTE_TAG]
    assert "interrupted: 1 suspended." in note


def test_runs_url_shows_the_trials() -> None:
    address = urlparse(runs_url("http://127.0.0.1:5000/", "7", ACCURACY, sweep()))
    assert address.geturl().startswith("http://127.0.0.1:5000/#/experiments/7/runs?")
    query = parse_qs(address.fragment.partition("?")[2])
    assert query == {
        "workflowType": ["machine_learning"],
        "compareRunsMode": ["CHART"],
        "orderByKey": ["metrics.`best_val_accuracy`"],
        "orderByAsc": ["false"],
        "searchFilter": [f"tags.`loratory.sweep` = '{sweep_key(sweep())}' AND tags.`loratory.trial` != ''"],
    }
    assert "orderByAsc=true" in unquote(runs_url("http://x", "7", LOSS, sweep()))
    hits = Metric(name="val/hit@1", direction=Direction.MAXIMIZE)
    assert "orderByKey=metrics.`best_val_hit_1`" in unquote(runs_url("http://x", "7", hits, sweep()))
    assert wording.best_name(LOSS) == "best_val_loss"


def test_view_has_columns_for_what_was_searched() -> None:
    searched = replace(sweep(), fingerprint={"space": {"learning_rate": {}, "rank": {}}})
    tags = view_tags(searched, LOSS)
    key = sweep_key(searched)
    assert view_url("http://x/", "7", searched) == (
        f"http://x/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey={key}"
    )
    own = json.loads(tags[f"{VIEW_TAG}{key}"])
    assert own["selectedColumns"] == [
        "tags.`state`",
        "metrics.`best_val_loss`",
        "metrics.`test/loss`",
        "metrics.`overfit_gap_at_best`",
        "params.`learning_rate`",
        "params.`rank`",
    ]
    assert own["columnOrder"][2:-1] == own["selectedColumns"]
    assert own["orderByAsc"] is True
    assert [section["name"] for section in own["compareRunSections"]][:2] == ["val", "train"]
    assert json.loads(tags[ALL_VIEW]) == own, "the start page shows one sweep"
    assert re.match(FILTER, own["searchFilter"])
    assert re.match(FILTER, "tags.`loratory.trial` != ''")
    assert not re.match(FILTER, f"{own['searchFilter']} AND params.`rank` = '8'")
    assert max(map(len, tags.values())) < 5000, "MLflow's limit"


def test_fresh_training_is_no_trial_of_lists() -> None:
    fresh = replace(trial(3, (0.7,), TrialState.COMPLETE), confirms=1)
    assert wording.run_name(fresh) == "trial-003 (fresh seed of trial-001)"
    tags = wording.child_tags(sweep(), fresh, "parent")
    assert wording.TRIAL_TAG not in tags
    assert tags[wording.FRESH_TAG] == "3"
    assert wording.trial_tags(fresh, sweep(), description())["confirms"] == "trial-001"
    assert "fresh seed" in wording.trial_tags(fresh, sweep(), description())[wording.NOTE_TAG]
