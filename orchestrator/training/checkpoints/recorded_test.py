"""The recorded test measurement of a trial's best checkpoint, in a file beside its checkpoints.

Sweeps with ``tracking.record`` write it. Only trial tables read it; nothing that chooses between trials does. It stays
when the checkpoints are deleted.
"""

import json
from dataclasses import asdict

from orchestrator.core.manifest import sync
from orchestrator.core.row_measures import Measurement, RowMeasures
from orchestrator.training.checkpoints.trial_folder import TrialFolder

FILE = "test.json"


def record_test(folder: TrialFolder, samples: int, measurement: Measurement) -> None:
    """Write the measurement of a checkpoint on the test split, atomically; an earlier record is replaced.

    Args:
        folder: the trial's checkpoints.
        samples: report point of the checkpoint.
        measurement: of the test split.

    Raises:
        OSError: the disk is full.
    """
    owner = None if folder.owner is None else folder.owner.to_json()
    document = {"samples": samples, "owner": owner, **asdict(measurement)}
    folder.path.mkdir(parents=True, exist_ok=True)
    unfinished = folder.path / f".{FILE}.unfinished"
    unfinished.write_text(json.dumps(document), encoding="utf-8")
    sync(unfinished)
    unfinished.replace(folder.path / FILE)
    sync(folder.path)


def read_recorded_test(folder: TrialFolder, samples: int) -> Measurement | None:
    """Return the recorded measurement of a checkpoint; None if it is missing, damaged or has another owner.

    Args:
        folder: the trial's checkpoints.
        samples: report point of the checkpoint.
    """
    try:
        document = json.loads((folder.path / FILE).read_text(encoding="utf-8"))
        if document["samples"] != samples or not folder.owns(document["owner"]):
            return None
        rows = RowMeasures(**{name: tuple(values) for name, values in document["rows"].items()})
        return Measurement(metrics=document["metrics"], rows=rows)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):  # not UTF-8, not JSON, or another document
        return None
