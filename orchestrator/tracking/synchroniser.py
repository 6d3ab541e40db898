"""One pass that brings MLflow to what the ledger says. No thread, no retry: it writes what is missing, or raises.

What has been written is kept in cursors, saved after each success. A kill at any point costs at most one run's writes
again, and those change nothing: points carry the records' own times, and a run is looked up by its tags before it is
created.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from orchestrator.core.errors import TrackingError
from orchestrator.core.sweep import SweepRecord, SweepStatus
from orchestrator.core.trial import TrialRecord
from orchestrator.tracking import wording
from orchestrator.tracking.adapters import SweepAdapters
from orchestrator.tracking.description import SweepDescription
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.models import log_adapter
from orchestrator.tracking.store import SyncStore
from orchestrator.tracking.summary import ended, fact_points, ranking, sweep_points, trial_points
from orchestrator.tracking.writer import RunWriter, table_tag

SPEC = "sweep.yaml"
TABLE = "leaderboard.json"
REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST", "BAD_REQUEST"})
"""Answers that concern one run (it was deleted, a value is not accepted), so that the others can still be written."""


class Synchroniser:
    """Writes one sweep to one place. Connects at the first pass, and again after a pass that failed."""

    def __init__(
        self,
        store: SyncStore,
        description: SweepDescription,
        location: Location,
        adapters: SweepAdapters | None = None,
    ) -> None:
        self._store = store
        self._description = description
        self._location = location
        self._adapters = adapters
        self._writer: RunWriter | None = None
        self._experiment = ""
        self._runs: dict[int | None, str] = {}
        self._cursors: dict[int | None, dict[str, Any]] = {}
        self._written: dict[int, tuple[SweepStatus, TrialRecord]] = {}  # in this process, so without a digest

    def run(self) -> None:
        """Write everything that is missing.

        Raises:
            TrackingError: a refusal by the store; all that it accepts has been written.
            Exception: whatever MLflow raises when its store cannot be reached; the next pass starts from the cursors.
        """
        try:
            self._pass()
        except BaseException:
            # A request that failed may have been carried out: look again at what is there before creating anything.
            self._writer = None
            raise

    def _pass(self) -> None:
        sweep, trials = self._store.sweep(), self._store.trials()
        writer = self._writer or self._open(sweep, trials)
        parent = self._runs.get(None) or self._add_run(None, writer.create_parent(self._experiment))
        from mlflow.exceptions import MlflowException

        refusals = []
        for trial in trials:
            status, known = self._written.get(trial.number, (None, None))
            if known is trial and status is sweep.status:
                continue
            try:
                self._write_trial(writer, sweep, trial, parent)
            except MlflowException as error:
                if error.error_code not in REFUSALS:
                    raise
                refusals.append(f"{wording.trial_name(trial.number)}: {error.message}")
            else:
                self._written[trial.number] = (sweep.status, trial)
        self._write_sweep(writer, sweep, trials, parent)
        self._log_models(writer, sweep, trials)
        if refusals:
            raise TrackingError("\n".join(refusals))

    def _open(self, sweep: SweepRecord, trials: Sequence[TrialRecord]) -> RunWriter:
        writer = RunWriter(connect(self._location), sweep, self._description)
        self._experiment = writer.experiment(self._location)
        self._runs = writer.existing(self._experiment)
        numbers: list[int | None] = [None, *(trial.number for trial in trials)]
        for number in numbers:
            cursor = self._store.cursor(number)
            # Another store, or a run that somebody deleted: what the cursor says was written is not there.
            self._cursors[number] = cursor if cursor.get("run_id") == self._runs.get(number) else {}
        self._written.clear()
        self._writer = writer
        return writer

    def _add_run(self, number: int | None, run_id: str) -> str:
        self._runs[number] = run_id
        if number is None:
            self._store.set_sweep_run(self._experiment, run_id)
        else:
            self._store.set_trial_run(number, run_id)
        return run_id

    def _save(self, number: int | None, cursor: dict[str, Any]) -> None:
        self._store.save_cursor(number, cursor)
        self._cursors[number] = cursor

    def _write_trial(self, writer: RunWriter, sweep: SweepRecord, trial: TrialRecord, parent: str) -> None:
        cursor = self._cursors.get(trial.number, {})
        status = wording.run_status(trial.state, sweep.status)
        seen = _digest(len(trial.reports), trial.state, trial.reason, trial.final, status)
        if cursor.get("seen") == seen:
            return
        number, started = trial.number, trial.started_at or sweep.created_at
        run_id = self._runs.get(number)
        if run_id is None:
            run_id = self._add_run(number, writer.create_trial(self._experiment, number, parent, started))
        if not cursor:
            self._add_run(number, run_id)
            writer.log_data(run_id)
        points = trial_points(trial, self._description.metric, cursor.get("samples", 0))
        params = {} if cursor else wording.trial_params(trial, self._description)
        writer.write(run_id, points, params, wording.trial_tags(trial, sweep, self._description))
        if status != cursor.get("status"):
            writer.set_status(run_id, status, trial.ended_at)
        self._save(number, {**cursor, "run_id": run_id, "samples": trial.samples, "status": status, "seen": seen})

    def _write_sweep(self, writer: RunWriter, sweep: SweepRecord, trials: Sequence[TrialRecord], parent: str) -> None:
        cursor = self._cursors.get(None, {})
        if not cursor:
            self._add_run(None, parent)
            writer.write_parent_head(parent)
            cursor = {"run_id": parent, "ended": 0, "files": {}}
            self._save(None, cursor)
        tags = wording.sweep_tags(sweep, trials, self._description)
        done = ended(trials)
        best = next(iter(ranking(done, self._description.metric)), None)
        seen = _digest(tags, len(done), None if best is None else best.final, sweep.facts)
        if cursor.get("seen") != seen:
            last = (done[-1].ended_at if done else None) or sweep.created_at
            points = sweep_points(trials, self._description.metric, cursor["ended"])
            points += fact_points(sweep.facts, len(done), last)
            writer.write(parent, points, tags=tags)
            writer.set_status(parent, wording.sweep_run_status(sweep.status), last)
            cursor = {**cursor, "ended": len(done), "seen": seen}
            self._save(None, cursor)
        self._upload_files(writer, sweep, parent)

    def _upload_files(self, writer: RunWriter, sweep: SweepRecord, parent: str) -> None:
        cursor = self._cursors[None]
        spec = _digest(sweep.spec_text)
        if cursor["files"].get(SPEC) != spec:
            writer.upload_text(parent, sweep.spec_text, SPEC)
            cursor = {**cursor, "files": {**cursor["files"], SPEC: spec}}
            self._save(None, cursor)
        for name, (path, digest) in _files(self._description.files).items():
            if cursor["files"].get(name) == digest:
                continue
            folder = Path(name).parent.as_posix()
            writer.upload(parent, path, None if folder == "." else folder)
            if name == TABLE:
                writer.write(parent, tags=table_tag(name))
            cursor = {**cursor, "files": {**cursor["files"], name: digest}}
            self._save(None, cursor)

    def _log_models(self, writer: RunWriter, sweep: SweepRecord, trials: Sequence[TrialRecord]) -> None:
        if self._adapters is None or sweep.status is not SweepStatus.FINISHED:
            return
        kept = (
            (trial, adapter, self._cursors.get(trial.number, {}))
            for trial in ranking(trials, self._description.metric)
            if (adapter := self._adapters.folder(trial)) is not None
        )
        for trial, adapter, cursor in islice(kept, self._description.keep_adapters):
            best = trial.best(self._description.metric)
            if best is None or "run_id" not in cursor:
                continue  # its run was refused
            if cursor.get("model_samples") == best.nominal_samples:
                continue
            model_id = log_adapter(
                writer.client, adapter, self._adapters.card(sweep, trial), cursor["run_id"], self._experiment
            )
            self._save(trial.number, {**cursor, "model_id": model_id, "model_samples": best.nominal_samples})


def _digest(*parts: object) -> str:
    plain = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _files(folder: Path | None) -> dict[str, tuple[Path, str]]:
    if folder is None or not folder.is_dir():
        return {}
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in found
    }
