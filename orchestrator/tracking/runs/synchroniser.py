"""One pass over a sweep: it writes records missing in MLflow, or raises. It has no thread and no retries.

A cursor per run stores the progress and is saved after each success. After a kill at most one run is written again,
without effect: points carry the records' own times, and runs are found by their tags before they are created.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.core.trials.ranking import ranked_by_result
from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.trial_cache import TrialCache
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.adapters import AdapterCard, SweepAdapters
from orchestrator.tracking.logged_models.models import log_adapter
from orchestrator.tracking.refusals import is_refusal, reason
from orchestrator.tracking.runs import wording
from orchestrator.tracking.runs.description import SweepDescription
from orchestrator.tracking.runs.summary import ended, fact_points, sweep_points, trial_points
from orchestrator.tracking.runs.writer import RunWriter, table_tag

logger = logging.getLogger(__name__)

SPEC = "sweep.yaml"
TABLE = "leaderboard.json"
ATTEMPTS = 2
"""Attempts on a refused item; before the second attempt the store's runs are read again."""


class Synchroniser:
    """Writes one sweep to one location. It connects at the first pass, and again after a failed pass."""

    def __init__(
        self,
        ledger: Ledger,
        sweep_id: int,
        description: SweepDescription,
        location: Location,
        adapters: SweepAdapters | None = None,
    ) -> None:
        self._ledger = ledger
        self._sweep_id = sweep_id
        self._trials = TrialCache(ledger.trials, sweep_id)
        self._description = description
        self._location = location
        self._adapters = adapters
        self._writer: RunWriter | None = None
        self._experiment = ""
        self._runs: dict[int | None, str] = {}
        self._cursors: dict[int | None, dict[str, Any]] = {}
        self._written: dict[int, tuple[SweepStatus, TrialRecord]] = {}  # in this process, so without a digest
        self._refusals: dict[str, int] = {}
        self._newly_refused: set[str] = set()  # items refused in this pass
        self._refused: dict[str, str] = {}

    def run(self) -> tuple[str, ...]:
        """Write everything missing; return a sentence for each item refused by the store.

        A refused item (a run, a file, a model, the whole sweep) is not tried again by this object.

        Raises:
            Exception: any error of MLflow for an unreachable store; the next pass starts from the cursors.
        """
        for _ in range(ATTEMPTS):
            try:
                if self._pass():
                    break
            except BaseException:
                # A failed request may have been carried out: read the runs again before creating any.
                self._writer = None
                raise
            self._writer = None
        return tuple(self._refused.values())

    def _pass(self) -> bool:
        """Return whether no further item was refused."""
        self._newly_refused.clear()
        sweep, trials = self._ledger.sweeps.get(self._sweep_id), self._trials.refresh()
        self._attempt(sweep.reference, partial(self._write_all, sweep, trials))
        return not self._newly_refused

    def _write_all(self, sweep: SweepRecord, trials: Sequence[TrialRecord]) -> None:
        writer = self._writer or self._open(sweep, trials)
        parent = self._runs.get(None) or self._add_run(None, writer.create_parent(self._experiment))
        for trial in trials:
            status, known = self._written.get(trial.number, (None, None))
            if known is trial and status is sweep.status:
                continue
            name = wording.trial_name(trial.number)
            if self._attempt(name, partial(self._write_trial, writer, sweep, trial, parent)):
                self._written[trial.number] = (sweep.status, trial)
        if self._attempt(f"the run of {sweep.reference}", partial(self._write_sweep, writer, sweep, trials, parent)):
            self._upload_files(writer, sweep, parent)
        self._log_models(writer, sweep, trials)

    def _attempt(self, item: str, write: Callable[[], None]) -> bool:
        """Write one item; return whether it is written. After the second refusal it is given up.

        Raises:
            Exception: any error of ``write`` other than a refusal.
        """
        if item in self._refused:
            return False
        try:
            write()
        except Exception as error:  # errors of MLflow, of its HTTP client and of SQL have no common base
            if not is_refusal(error):
                raise
            self._refusals[item] = self._refusals.get(item, 0) + 1
            self._newly_refused.add(item)
            if self._refusals[item] >= ATTEMPTS:
                self._refused[item] = f"{item}: {reason(error)}"
                logger.warning("tracking: the store refuses %s; it is not sent again", item, exc_info=error)
            return False
        return True

    def _open(self, sweep: SweepRecord, trials: Sequence[TrialRecord]) -> RunWriter:
        writer = RunWriter(connect(self._location), sweep, self._description)
        self._experiment = writer.experiment(self._location)
        self._runs = writer.existing(self._experiment)
        numbers: list[int | None] = [None, *(trial.number for trial in trials)]
        for number in numbers:
            cursor = self._ledger.cursors.load(self._sweep_id, number)
            # In another store, or for a deleted run, the cursor does not apply.
            self._cursors[number] = cursor if cursor.get("run_id") == self._runs.get(number) else {}
        self._written.clear()
        self._writer = writer
        return writer

    def _add_run(self, number: int | None, run_id: str) -> str:
        self._runs[number] = run_id
        if number is None:
            self._ledger.sweeps.update(self._sweep_id, experiment_id=self._experiment, run_id=run_id)
        else:
            self._ledger.trials.set_run(self._sweep_id, number, run_id)
        return run_id

    def _save(self, number: int | None, cursor: dict[str, Any]) -> None:
        self._ledger.cursors.save(self._sweep_id, number, cursor)
        self._cursors[number] = cursor

    def _write_trial(self, writer: RunWriter, sweep: SweepRecord, trial: TrialRecord, parent: str) -> None:
        cursor = self._cursors.get(trial.number, {})
        status = wording.run_status(trial.state, sweep.status)
        seen = _digest(len(trial.reports), trial.state, trial.reason, trial.final, status)
        if cursor.get("seen") == seen:
            return
        number = trial.number
        run_id = self._runs.get(number)
        if run_id is None:
            run_id = self._add_run(number, writer.create_trial(self._experiment, trial, parent))
        if not cursor:
            self._add_run(number, run_id)
            writer.log_data(run_id)
        points = trial_points(trial, self._description.metric, cursor.get("samples", 0))
        params = {} if cursor else wording.trial_params(trial, self._description)
        writer.write(run_id, points, params, wording.trial_tags(trial, sweep, self._description))
        if status != cursor.get("status"):
            if trial.state is TrialState.PRUNED:
                writer.rename(run_id, wording.run_name(trial))
            writer.set_status(run_id, status, trial.ended_at)
        self._save(number, {**cursor, "run_id": run_id, "samples": trial.samples, "status": status, "seen": seen})

    def _write_sweep(self, writer: RunWriter, sweep: SweepRecord, trials: Sequence[TrialRecord], parent: str) -> None:
        cursor = self._cursors.get(None, {})
        if not cursor:
            self._add_run(None, parent)
            writer.write_parent_constants(parent)
            cursor = {"run_id": parent, "ended": 0, "files": {}}
            self._save(None, cursor)
        tags = wording.sweep_tags(sweep, trials, self._description, self._ledger.requests.all(sweep.id))
        done = ended(trials)
        best = next(iter(ranked_by_result(done, self._description.metric)), None)
        seen = _digest(
            tags, len(done), None if best is None else best.final, sweep.facts.baseline, sweep.facts.importances
        )
        if cursor.get("seen") != seen:
            last = (done[-1].ended_at if done else None) or sweep.created_at
            points = sweep_points(trials, self._description.metric, cursor["ended"])
            points += fact_points(sweep.facts, len(done), last)
            writer.write(parent, points, tags=tags)
            writer.set_status(parent, wording.sweep_run_status(sweep.status), last)
            cursor = {**cursor, "ended": len(done), "seen": seen}
            self._save(None, cursor)

    def _upload_files(self, writer: RunWriter, sweep: SweepRecord, parent: str) -> None:
        """Upload the sweep file and the new or changed files, each an item of its own."""
        text = sweep.spec_text
        self._upload(SPEC, _digest(text), lambda: writer.upload_text(parent, text, SPEC))
        files = _files(self._description.files) | _existing(self._description.row_files)
        for name, (path, digest) in files.items():
            self._upload(name, digest, partial(_upload_file, writer, parent, name, path))

    def _upload(self, name: str, digest: str, upload: Callable[[], None]) -> None:
        cursor = self._cursors[None]
        if cursor["files"].get(name) != digest and self._attempt(f"the file {name}", upload):
            self._save(None, {**cursor, "files": {**cursor["files"], name: digest}})

    def _log_models(self, writer: RunWriter, sweep: SweepRecord, trials: Sequence[TrialRecord]) -> None:
        if self._adapters is None or sweep.status is not SweepStatus.FINISHED:
            return
        kept = (
            (trial, adapter, self._cursors.get(trial.number, {}))
            for trial in ranked_by_result(trials, self._description.metric)
            if (adapter := self._adapters.folder(trial)) is not None
        )
        for trial, adapter, cursor in islice(kept, self._description.keep_adapters):
            best = trial.best(self._description.metric)
            if best is None or "run_id" not in cursor:
                continue  # its run was refused
            if cursor.get("model_samples") == best.nominal_samples:
                continue
            name = f"the model of {wording.trial_name(trial.number)}"
            self._attempt(name, partial(self._log_model, writer, adapter, self._adapters.card(sweep, trial)))

    def _log_model(self, writer: RunWriter, adapter: Path, card: AdapterCard) -> None:
        cursor = self._cursors[card.trial]
        model_id = log_adapter(writer.client, adapter, card, cursor["run_id"], self._experiment)
        self._save(card.trial, {**cursor, "model_id": model_id, "model_samples": card.samples})


def _upload_file(writer: RunWriter, run_id: str, name: str, path: Path) -> None:
    folder = Path(name).parent.as_posix()
    writer.upload(run_id, path, None if folder == "." else folder)
    if name == TABLE:
        writer.write(run_id, tags=table_tag(name))


def _digest(*parts: object) -> str:
    plain = json.dumps(parts, sort_keys=True, default=_plain)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _files(folder: Path | None) -> dict[str, tuple[Path, str]]:
    if folder is None or not folder.is_dir():
        return {}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path, _file_digest(path)) for path in files}


def _existing(files: Sequence[Path]) -> dict[str, tuple[Path, str]]:
    return {path.name: (path, _file_digest(path)) for path in files if path.is_file()}


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
