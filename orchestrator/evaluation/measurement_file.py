"""The file of a measurement on a split, in a trial's folder beside its checkpoints.

``test.json`` is written with ``tracking.record``, for trial tables. ``kept_test.json`` and ``kept_validation.json`` are
written for each kept adapter after the search, for intervals, paired tests, slices, the corrected score of the winner,
calibration and suspected label errors. The second one is left out where none of them needs it.

Three further files serve intervals alone: ``kept_train.json`` (the measured training rows) and ``kept_general.json``
(the general text) of each kept adapter, and ``shift_SET.json`` of each trial at its end. Nothing that chooses between
trials during the search reads any of these files.
"""

import json
import math
from dataclasses import asdict
from pathlib import Path

from orchestrator.core.metric import Metric
from orchestrator.core.trials.manifest import Owner, write_atomically
from orchestrator.core.trials.row_measures import Measurement, RowMeasures
from orchestrator.core.trials.trial import TrialRecord

KEPT = "kept_test.json"
"""Name of the file of a kept adapter, measured once in float32."""


KEPT_VALIDATION = "kept_validation.json"
"""Name of the file of the same adapter on the validation split."""
KEPT_TRAIN, KEPT_GENERAL = "kept_train.json", "kept_general.json"
"""Names of the files of the same adapter on the training rows measured at reports, and on the general text."""


def shift_file_name(name: str) -> str:
    """Return the name of the file of a trial's best checkpoint on a shift set."""
    return f"shift_{name}.json"


def kept_test_file(sweep_dir: Path, number: int) -> Path:
    """Return the path of the test measurement of a kept adapter.

    Args:
        sweep_dir: folder of the sweep.
        number: number of the trial.
    """
    return sweep_dir / "trials" / f"{number:04d}" / KEPT


def write_measurement(file: Path, samples: int, owner: Owner | None, measurement: Measurement) -> None:
    """Write a measurement atomically; an earlier file is replaced.

    Args:
        file: the file; its folder is created.
        samples: report point of the measured checkpoint.
        owner: the trial; None: unknown.
        measurement: metrics and rows.

    Raises:
        OSError: the disk is full.
    """
    stored = None if owner is None else owner.to_json()
    document = {"samples": samples, "owner": stored, **asdict(measurement)}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(document))


def read_measurement(file: Path, samples: int, owner: Owner | None) -> Measurement | None:
    """Return a written measurement; None if it is missing, damaged, of another checkpoint or of another owner.

    Args:
        file: the file.
        samples: report point of the checkpoint.
        owner: the trial; None: any.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        stored = document["owner"]
        if document["samples"] != samples or not (owner is None or stored is None or owner.owns(stored)):
            return None
        return Measurement(metrics=document["metrics"], rows=RowMeasures.from_json(document["rows"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError):  # not UTF-8, not JSON, or another document
        return None


def kept_measurement(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> Measurement | None:
    """Return the test measurement of a kept adapter; None unless its metrics are those of the ledger.

    Sweeps of earlier versions have metrics and no rows.

    Args:
        sweep_dir: folder of the sweep.
        trial: the trial.
        metric: decides the best checkpoint.
    """
    return _of_final(sweep_dir, trial, metric, KEPT, "test/")


def shift_measurement(sweep_dir: Path, trial: TrialRecord, metric: Metric, name: str) -> Measurement | None:
    """Return the measurement of a trial on a shift set; None unless its metrics are those of the ledger.

    Sweeps of earlier versions have metrics and no rows.

    Args:
        sweep_dir: folder of the sweep.
        trial: the trial.
        metric: decides the best checkpoint.
        name: the shift set.
    """
    return _of_final(sweep_dir, trial, metric, shift_file_name(name), f"shift/{name}/")


def kept_general(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> Measurement | None:
    """Return the measurement of a kept adapter on the general text; None unless its metrics are those of the ledger.

    The rows are those of ``forgetting.measurement``. For the arguments see ``shift_measurement``.
    """
    return _of_final(sweep_dir, trial, metric, KEPT_GENERAL, "")


def _of_final(sweep_dir: Path, trial: TrialRecord, metric: Metric, file: str, prefix: str) -> Measurement | None:
    """Return a measurement whose finite metrics, with a prefix, are the trial's final metrics; else None."""
    best = trial.best(metric)
    if best is None or not any(name.startswith(prefix) for name in trial.final):
        return None
    path = kept_test_file(sweep_dir, trial.number).with_name(file)
    measured = read_measurement(path, best.nominal_samples, Owner(sweep="", task=trial.task))
    if measured is None:
        return None
    finite = {f"{prefix}{name}": value for name, value in measured.metrics.items() if math.isfinite(value)}
    return measured if all(trial.final.get(name) == value for name, value in finite.items()) else None


def kept_validation(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> Measurement | None:
    """Return the validation measurement of a kept adapter; None if it is missing, damaged or of another checkpoint.

    Args:
        sweep_dir: folder of the sweep.
        trial: the trial.
        metric: decides the best checkpoint.
    """
    return _of_best(sweep_dir, trial, metric, KEPT_VALIDATION)


def kept_train(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> Measurement | None:
    """Return the measurement of a kept adapter on training rows; see ``kept_validation``."""
    return _of_best(sweep_dir, trial, metric, KEPT_TRAIN)


def _of_best(sweep_dir: Path, trial: TrialRecord, metric: Metric, name: str) -> Measurement | None:
    best = trial.best(metric)
    if best is None:
        return None
    file = kept_test_file(sweep_dir, trial.number).with_name(name)
    return read_measurement(file, best.nominal_samples, Owner(sweep="", task=trial.task))
