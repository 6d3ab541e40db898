"""The recorded test measurement of a trial's best checkpoint, in a file beside its checkpoints.

Sweeps with ``tracking.record`` write it. Only trial tables read it; nothing that chooses between trials does. It stays
when the checkpoints are deleted.
"""

from orchestrator.core.trials.row_measures import Measurement
from orchestrator.evaluation.measurement_file import read_measurement, write_measurement
from orchestrator.training.checkpoints.trial_folder import TrialFolder

FILE = "test.json"


def record_test(folder: TrialFolder, samples: int, measurement: Measurement) -> None:
    """Write the measurement of a checkpoint on the test split, atomically; an earlier record is replaced.

    Args:
        folder: the trial's checkpoints.
        samples: report point of the checkpoint.
        measurement: measurement of the test split.

    Raises:
        OSError: the disk is full.
    """
    write_measurement(folder.path / FILE, samples, folder.owner, measurement)


def read_recorded_test(folder: TrialFolder, samples: int) -> Measurement | None:
    """Return the recorded measurement of a checkpoint; None if it is missing, damaged or has another owner.

    Args:
        folder: the trial's checkpoints.
        samples: report point of the checkpoint.
    """
    return read_measurement(folder.path / FILE, samples, folder.owner)
