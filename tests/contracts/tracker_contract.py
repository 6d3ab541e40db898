"""The contract of every tracking store. A test class inherits the suite and defines ``location``."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.trial import TrialState
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.runs.description import SweepDescription, sweep_key
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.records import StoredSweep, description, sweep, trial


class Killed(BaseException):
    """Simulates a kill of the driver."""


@contextmanager
def killed_at(store: StoredSweep, count: int) -> Iterator[None]:
    """Die before the ``count``-th write of the tracker to the ledger, counted from 1, after the write to MLflow."""
    left = count

    def die(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal left
        if statement.startswith(("UPDATE loratory_trials", "INSERT INTO loratory_cursors")):
            left -= 1
            if left == 0:
                raise Killed

    engine = store.ledger.database.engine
    event.listen(engine, "before_cursor_execute", die)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", die)


class TrackerContract:
    @pytest.fixture
    def location(self) -> Location:
        raise NotImplementedError

    @pytest.fixture
    def name(self) -> str:
        return f"films-{uuid.uuid4().hex[:8]}"

    def synchronise(
        self, store: StoredSweep, location: Location, described: SweepDescription | None = None
    ) -> Synchroniser:
        synchroniser = Synchroniser(store.ledger, store.id, described or description(), location)
        synchroniser.run()
        return synchroniser

    def runs(self, location: Location, record: SweepRecord) -> dict[str, Any]:
        client = connect(location)
        experiment = client.get_experiment_by_name(record.name)
        assert experiment is not None
        wanted = f"tags.`loratory.sweep` = '{sweep_key(record)}'"
        found = client.search_runs([experiment.experiment_id], wanted)
        assert len({run.info.run_name for run in found}) == len(found)
        return {run.info.run_name: run for run in found}

    def test_sweep_has_parent_and_nested_runs(self, location: Location, name: str) -> None:
        store = StoredSweep(
            sweep(name),
            trial(0, (0.7, 0.8, 0.75), TrialState.COMPLETE),
            trial(1, (0.6,), TrialState.PRUNED),
            trial(2, (), TrialState.FAIL),
            trial(3, (0.5,)),
        )
        self.synchronise(store, location)
        runs = self.runs(location, store.record)
        names = ["trial-000", "trial-001 (pruned)", "trial-002", "trial-003"]
        assert set(runs) == {f"{name}#1", *names}
        parent = runs.pop(f"{name}#1")
        assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
        assert [runs[each].info.status for each in names] == ["FINISHED", "FINISHED", "FAILED", "RUNNING"]
        assert [runs[each].data.tags["state"] for each in names] == ["complete", "pruned", "fail", "running"]
        assert parent.info.status == "RUNNING"
        assert store.run_id == parent.info.run_id
        assert {number: item.run_id for number, item in store.records.items()} == {
            int(run.data.tags["loratory.trial"]): run.info.run_id for run in runs.values()
        }

    def test_run_shows_parameters_and_best_checkpoint(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name), trial(0, (0.7, 0.8, 0.75), TrialState.COMPLETE))
        self.synchronise(store, location)
        run = self.runs(location, store.record)["trial-000"]
        assert run.data.params == {
            "alpha": "32", "target_modules": "all-linear", "learning_rate": "0.0001", "rank": "8", "seed": "11"
        }  # fmt: skip
        assert run.data.metrics["val/accuracy"] == 0.75
        assert run.data.metrics["best_val_accuracy"] == 0.8
        assert run.data.metrics["samples_at_best"] == 2000
        assert run.data.metrics["overfit_gap_at_best"] == pytest.approx(0.1)
        assert run.data.metrics["accuracy_gap_at_best"] == pytest.approx(0.05)
        assert run.info.start_time == store.records[0].started_at * 1000
        assert run.info.end_time == (store.records[0].ended_at or 0) * 1000
        [data] = run.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.digest) == ("rows", "d" * 36)
        history = connect(location).get_metric_history(run.info.run_id, "val/accuracy")
        assert [(point.step, point.value) for point in history] == [(1000, 0.7), (2000, 0.8), (3000, 0.75)]

    def test_parent_shows_best_trial_and_sweep(self, location: Location, name: str) -> None:
        store = StoredSweep(
            sweep(name), trial(0, (0.7,), TrialState.COMPLETE), trial(1, (0.9,), TrialState.PRUNED), trial(2, (0.95,))
        )
        self.synchronise(store, location)
        parent = self.runs(location, store.record)[f"{name}#1"]
        assert parent.data.metrics["best_val_accuracy"] == 0.9
        assert parent.data.metrics["baseline_val_accuracy"] == 0.6
        assert parent.data.tags["best_trial"] == "trial-001"
        assert parent.data.tags["version/torch"] == metadata.version("torch")
        assert "| trial-001 | 0.9000 | 1,000 |" in parent.data.tags["mlflow.note.content"]
        assert "What it shows." in parent.data.tags["mlflow.note.content"]
        assert parent.data.params["objective"] == "sentiment"
        history = connect(location).get_metric_history(parent.info.run_id, "best_val_accuracy")
        assert [(point.step, point.value) for point in history] == [(1, 0.7), (2, 0.9)]
        assert [file.path for file in connect(location).list_artifacts(parent.info.run_id)] == ["sweep.yaml"]

    def test_reports_and_outcomes_extend_the_run(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name), trial(0, (0.7,)), trial(1, (0.6,)))
        synchroniser = self.synchronise(store, location)
        store.put(trial(0, (0.7, 0.8), TrialState.COMPLETE), trial(1, (0.6,), TrialState.PRUNED))
        synchroniser.run()
        runs = self.runs(location, store.record)
        assert set(runs) == {f"{name}#1", "trial-000", "trial-001 (pruned)"}
        run = runs["trial-000"]
        assert run.info.status == "FINISHED"
        assert len(connect(location).get_metric_history(run.info.run_id, "val/loss")) == 2

    def test_a_second_pass_writes_nothing(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name), trial(0, (0.7, 0.8), TrialState.COMPLETE), trial(1, (0.6,)))
        synchroniser = self.synchronise(store, location)
        before, runs = store.saves, self.runs(location, store.record)
        synchroniser.run()
        self.synchronise(store, location)  # a new driver
        assert store.saves == before
        after = self.runs(location, store.record)
        assert {name: run.to_dictionary() for name, run in after.items()} == {
            name: run.to_dictionary() for name, run in runs.items()
        }

    def test_lost_cursors_cost_only_a_rewrite(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name), trial(0, (0.7, 0.8), TrialState.COMPLETE))
        self.synchronise(store, location)
        store.forget_cursors()
        self.synchronise(store, location)
        run = self.runs(location, store.record)["trial-000"]
        assert len(connect(location).get_metric_history(run.info.run_id, "val/loss")) == 2

    @pytest.mark.parametrize("dies_at", [1, 2, 3, 4, 5])
    def test_kill_leaves_one_run_per_trial(self, location: Location, name: str, dies_at: int) -> None:
        store = StoredSweep(sweep(name), trial(0, (0.7, 0.8), TrialState.COMPLETE), trial(1, (0.6,)))
        with pytest.raises(Killed), killed_at(store, dies_at):
            self.synchronise(store, location)
        self.synchronise(store, location)
        runs = self.runs(location, store.record)
        assert set(runs) == {f"{name}#1", "trial-000", "trial-001"}
        history = connect(location).get_metric_history(runs["trial-000"].info.run_id, "val/loss")
        assert [point.step for point in history] == [1000, 2000]

    def test_generations_share_the_experiment_and_nothing_else(self, location: Location, name: str) -> None:
        first = StoredSweep(sweep(name, 1), trial(0, (0.7,), TrialState.COMPLETE))
        second = StoredSweep(sweep(name, 2), trial(0, (0.9,), TrialState.COMPLETE))
        self.synchronise(first, location)
        self.synchronise(second, location)
        assert first.record.experiment_id == second.record.experiment_id
        assert first.records[0].run_id != second.records[0].run_id
        assert set(self.runs(location, first.record)) == {f"{name}#1", "trial-000"}
        assert set(self.runs(location, second.record)) == {f"{name}#2", "trial-000"}

    def test_interrupted_sweep_is_scheduled_then_running(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name, status=SweepStatus.INTERRUPTED), trial(0, (0.7,)))
        synchroniser = self.synchronise(store, location)
        runs = self.runs(location, store.record)
        assert {run.info.status for run in runs.values()} == {"SCHEDULED"}
        store.ledger.sweeps.update(store.id, status=SweepStatus.RUNNING)
        synchroniser.run()
        assert {run.info.status for run in self.runs(location, store.record).values()} == {"RUNNING"}

    def test_deleted_run_is_written_again(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name), trial(0, (0.7, 0.8), TrialState.COMPLETE))
        self.synchronise(store, location)
        deleted = store.run_of(0)
        connect(location).delete_run(deleted)
        self.synchronise(store, location)
        assert store.run_of(0) != deleted
        assert self.runs(location, store.record)["trial-000"].data.metrics["best_val_accuracy"] == 0.8

    def test_files_of_the_report_become_artifacts_once(self, location: Location, name: str, tmp_path: Path) -> None:
        folder = tmp_path / "report"
        (folder / "pictures").mkdir(parents=True)
        (folder / "pictures" / "history.png").write_bytes(b"a picture")
        (folder / "leaderboard.json").write_text('{"columns": ["trial"], "data": [[0]]}')
        store = StoredSweep(sweep(name), trial(0, (0.7,)))
        near, suspected = tmp_path / "near_copies.csv", tmp_path / "suspected_labels.csv"
        near.write_text("split,row\n")
        synchroniser = self.synchronise(store, location, description(files=folder, row_files=(near, suspected)))
        before = store.saves
        synchroniser.run()
        assert store.saves == before
        (folder / "leaderboard.json").write_text('{"columns": ["trial"], "data": [[0], [1]]}')
        suspected.write_text("split,row\n")
        synchroniser.run()
        assert store.saves == before + 2
        client, parent = connect(location), store.run_id
        tag = client.get_run(parent).data.tags["mlflow.loggedArtifacts"]
        assert json.loads(tag) == [{"path": "leaderboard.json", "type": "table"}]  # shown as a table
        table = Path(client.download_artifacts(str(parent), "leaderboard.json", str(tmp_path)))
        assert json.loads(table.read_text())["data"] == [[0], [1]]
        assert [file.path for file in client.list_artifacts(str(parent), "pictures")] == ["pictures/history.png"]
        assert {near.name, suspected.name} < {file.path for file in client.list_artifacts(str(parent))}

    def test_nan_and_infinity_are_written(self, location: Location, name: str) -> None:
        store = StoredSweep(sweep(name), trial(0, (float("nan"), float("inf")), TrialState.FAIL))
        self.synchronise(store, location)
        assert self.runs(location, store.record)["trial-000"].info.status == "FAILED"
