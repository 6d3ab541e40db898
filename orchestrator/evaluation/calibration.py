"""Calibration of a kept adapter: its expected calibration error, and a temperature fitted on the validation rows.

The result is stored as ``calibration.json`` in the trial's folder. A class probability is then
``softmax(logits / temperature)``; the predicted classes stay the same.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orchestrator.core.metric import Metric
from orchestrator.core.trials.manifest import Owner, write_atomically
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.trial import TrialRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.statistics.calibration import CalibrationError, ReliabilityBin, Temperature
    from orchestrator.statistics.intervals import Interval

FILE = "calibration.json"
CALIBRATION_ERROR = "ece_15_l1"
"""Name of the expected calibration error, without a split."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """The calibration of class probabilities on the test rows.

    Attributes:
        error: expected calibration error: 15 bins of equal width, norm 1.
        bins: the bins with at least one row, for a chart.
    """

    error: "CalibrationError"
    bins: "tuple[ReliabilityBin, ...]"


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterCalibration:
    """The calibration of one adapter.

    Attributes:
        temperature: fitted on the validation rows.
        validation_rows, test_rows: number of rows.
        before: test rows with the adapter's own probabilities.
        after: test rows with the logits divided by the temperature.
    """

    temperature: "Temperature"
    validation_rows: int
    test_rows: int
    before: Reliability
    after: Reliability

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the calibration of plain JSON.

        Raises:
            KeyError, TypeError: the document has another form.
        """
        from orchestrator.statistics.calibration import Temperature

        return cls(
            temperature=Temperature(**stored["temperature"]),
            validation_rows=stored["validation_rows"],
            test_rows=stored["test_rows"],
            before=_reliability(stored["before"]),
            after=_reliability(stored["after"]),
        )

    @property
    def sentence(self) -> str:
        """The calibration in words, without a full stop."""
        before, after = self.before.error, self.after.error
        direction = "too sure" if self.temperature.value > 1 else "not sure enough"
        return (
            f"expected calibration error {before.value:.3f} on {self.test_rows:,} test rows ({before.bins} bins of "
            f"equal width, L{before.norm}); {after.value:.3f} with temperature {self.temperature.value:.2f}, fitted "
            f"on {self.validation_rows:,} validation rows (the adapter is {direction})"
        )


def calibrate(validation: RowMeasures, test: RowMeasures) -> AdapterCalibration | None:
    """Return the calibration of an adapter; None without finite logits on both splits.

    Args:
        validation: rows for the temperature.
        test: rows for the expected calibration error.
    """
    import numpy as np

    from orchestrator.statistics.calibration import fit_temperature

    logits_nc, logits_mc = np.array(validation.logits), np.array(test.logits)
    if not (logits_nc.size and logits_mc.size and np.isfinite(logits_nc).all() and np.isfinite(logits_mc).all()):
        return None
    temperature = fit_temperature(logits_nc, np.array(validation.references))
    references_m = np.array(test.references)
    return AdapterCalibration(
        temperature=temperature,
        validation_rows=len(logits_nc),
        test_rows=len(logits_mc),
        before=_measured(logits_mc, references_m, 1.0),
        after=_measured(logits_mc, references_m, temperature.value),
    )


def calibration_limits(rows: RowMeasures) -> "Interval":
    """Return the expected calibration error of rows with logits, with its bootstrap interval."""
    import numpy as np

    from orchestrator.statistics.calibration import calibration_interval, scaled_probabilities, top_label

    probabilities_nc = scaled_probabilities(np.array(rows.logits), 1.0)
    return calibration_interval(*top_label(probabilities_nc, np.array(rows.references)), np.random.default_rng(0))


def write_calibration(trial_dir: Path, samples: int, owner: Owner | None, calibration: AdapterCalibration) -> None:
    """Write ``calibration.json`` to a trial's folder, atomically.

    Raises:
        OSError: the disk is full.
    """
    document = {"samples": samples, "owner": None if owner is None else owner.to_json(), **asdict(calibration)}
    write_atomically(trial_dir / FILE, json.dumps(document, indent=1))


def kept_calibration(sweep_dir: Path, trial: TrialRecord, metric: Metric) -> AdapterCalibration | None:
    """Return the calibration of a kept adapter; None if it is missing, damaged or of another checkpoint.

    Args:
        sweep_dir: folder of the sweep.
        trial: the trial.
        metric: decides the best checkpoint.
    """
    best = trial.best(metric)
    if best is None:
        return None
    file = sweep_dir / "trials" / f"{trial.number:04d}" / FILE
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        stored = document["owner"]
        owned = stored is None or Owner(sweep="", task=trial.task).owns(stored)
        calibration = AdapterCalibration.from_json(document)
        current = document["samples"] == best.nominal_samples and owned
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError):  # not UTF-8, not JSON, or another document
        return None
    name = f"test/{calibration.before.error.name}"
    same = math.isclose(trial.final.get(name, math.nan), calibration.before.error.value)
    return calibration if current and same else None


def _measured(logits_nc: "NDArray[np.float64]", references_n: "NDArray[np.int64]", temperature: float) -> Reliability:
    from orchestrator.statistics.calibration import (
        expected_calibration_error,
        reliability_bins,
        scaled_probabilities,
        top_label,
    )

    confidences_n, correct_n = top_label(scaled_probabilities(logits_nc, temperature), references_n)
    return Reliability(
        error=expected_calibration_error(confidences_n, correct_n), bins=reliability_bins(confidences_n, correct_n)
    )


def _reliability(stored: Mapping[str, Any]) -> Reliability:
    from orchestrator.statistics.calibration import CalibrationError, ReliabilityBin
    from orchestrator.statistics.intervals import Interval

    return Reliability(
        error=CalibrationError(**stored["error"]),
        bins=tuple(ReliabilityBin(**{**each, "accuracy": Interval(**each["accuracy"])}) for each in stored["bins"]),
    )
