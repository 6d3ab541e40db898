"""The stored test rows of a candidate and of the version in use."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.measurement_file import kept_measurement
from orchestrator.evaluation.rows.slices import read_slice_columns, row_slices
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.report.leaderboard import metric_of
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.test_rows import read_test_rows, trial_of_model
from orchestrator.tracking.registered.registry import Version


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRows:
    """The measurement of one adapter on the test rows of its sweep.

    Attributes:
        digest: digest of the test rows.
        measurement: metrics and rows.
    """

    digest: str
    measurement: Measurement

    def to_text(self) -> str:
        """Return the content of the file beside a registered adapter: everything but logits and answers."""
        measurement = replace(self.measurement, rows=replace(self.measurement.rows, logits=(), answers=()))
        return json.dumps({"version": 1, "digest": self.digest, **asdict(measurement)})

    @classmethod
    def from_text(cls, text: str) -> "StoredRows":
        """Return the rows written by ``to_text``."""
        stored = json.loads(text)
        rows = RowMeasures.from_json(stored["rows"])
        return cls(digest=stored["digest"], measurement=Measurement(metrics=stored["metrics"], rows=rows))


def rows_digest(sweep: SweepRecord, split: str) -> str | None:
    """Return the digest of a split's rows; None: an earlier version of Loratory stored none."""
    rows = sweep.fingerprint.get("rows")
    digest = rows.get(split) if isinstance(rows, Mapping) else None
    return digest if isinstance(digest, str) else None


def rows_of_trial(sweep: SweepRecord, trial: TrialRecord, metric: Metric, folder: Path) -> StoredRows | None:
    """Return the test rows in a trial's folder; None: the adapter was not measured, or the folder is gone.

    Args:
        sweep: the sweep.
        trial: the trial.
        metric: decides the best checkpoint.
        folder: folder of the sweep.
    """
    measurement = kept_measurement(folder, trial, metric)
    digest = rows_digest(sweep, "test")
    if digest is None and measurement is not None and "function" in sweep.fingerprint:
        digest = _digest_of_references(measurement, sweep.fingerprint["objective"])
    return None if digest is None or measurement is None else StoredRows(digest=digest, measurement=measurement)


def _digest_of_references(measurement: Measurement, function: str) -> str | None:
    """Return a digest of the function's name and the true classes that it returned; None without classes.

    A function reads its rows itself, so equal classes in the same order have to stand for equal rows. Two functions may
    have different rows with equal classes, for example all of one class.
    """
    references = measurement.rows.references
    return hashlib.sha256(json.dumps([function, references]).encode()).hexdigest() if references else None


def slices_of(folder: Path, rows: RowMeasures, labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the row numbers of each slice of the test rows, by name: ``label positive``, ``length up to 12 tokens``.

    Sweeps of earlier versions have slices by label alone.

    Args:
        folder: folder of the sweep.
        rows: test rows of one of its adapters.
        labels: class names in the order of their ids.
    """
    by_label = {"label": [labels[number] if number < len(labels) else str(number) for number in rows.references]}
    slices = row_slices(rows, {**by_label, **read_slice_columns(folder)})
    return {f"{column} {name}": places for (column, name), places in slices.items()}


def rows_of_version(version: Version, location: Location, ledger: Ledger | None) -> StoredRows | None:
    """Return the test rows of a registered version; None: there are none.

    They are beside the registered adapter. Versions of earlier releases have them in the folder of their sweep, if the
    ledger holds it.
    """
    if not version.model_id:
        return None
    client = connect(location)
    text = read_test_rows(client, version.model_id, location.tracking_uri)
    if text is not None:
        return StoredRows.from_text(text)
    origin = trial_of_model(client, version.model_id)
    return None if ledger is None or origin is None else _rows_in_ledger(ledger, *origin)


def is_same_adapter(version: Version, sweep: SweepRecord, trial: TrialRecord, location: Location) -> bool:
    """Return whether a version is the adapter of this trial."""
    if not version.model_id:
        return False
    return trial_of_model(connect(location), version.model_id) == (sweep.key, trial.number)


def _rows_in_ledger(ledger: Ledger, key: str, number: int) -> StoredRows | None:
    """Return the test rows of a trial in the folder of its sweep, given the sweep's key."""
    sweep = next((each for each in ledger.sweeps.all() if each.key == key), None)
    if sweep is None:
        return None
    trial = next((each for each in ledger.trials.all(sweep.id) if each.number == number), None)
    return None if trial is None else rows_of_trial(sweep, trial, metric_of(sweep), sweep_dir(sweep))
