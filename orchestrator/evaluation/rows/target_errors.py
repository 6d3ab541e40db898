"""Errors of each target of a regression, from the stored rows of a measurement."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.core.trials.row_measures import RowMeasures


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetError:
    """One target on the rows of a split, in its own unit. A prediction of NaN or infinity makes them NaN or infinite.

    Attributes:
        name: the target.
        mean_absolute_error: mean of the absolute value of predicted − true.
        root_mean_squared_error: square root of the mean of (predicted − true)².
        mean_error: mean of predicted − true; above 0: the predictions are too high.
        r2: 1 less the sum of squared errors over that of the mean's errors, at most 1; None if the target is constant.
    """

    name: str
    mean_absolute_error: float
    root_mean_squared_error: float
    mean_error: float
    r2: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetErrors:
    """The targets of one adapter on the test rows.

    Attributes:
        targets: errors of each target, in the order of the targets.
        rows: the rows of the measurement, with true and predicted numbers.
    """

    targets: tuple[TargetError, ...]
    rows: RowMeasures

    @property
    def sentence(self) -> str:
        """The target with the lowest R², without a full stop."""
        worst = min(self.targets, key=lambda each: -math.inf if each.r2 is None else each.r2)
        r2 = "R² is undefined (a constant target)" if worst.r2 is None else f"R² {worst.r2:.3f}"
        of_all = f", the lowest of {len(self.targets)} targets" if len(self.targets) > 1 else ""
        return (
            f"{worst.name}: {r2}{of_all}; mean absolute error {worst.mean_absolute_error:.4g}, root mean squared error "
            f"{worst.root_mean_squared_error:.4g}, mean error {worst.mean_error:+.4g}, on "
            f"{len(self.rows.true_numbers):,} test rows"
        )

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain values of each target."""
        return [asdict(each) for each in self.targets]


def target_errors(rows: RowMeasures, names: Sequence[str]) -> TargetErrors | None:
    """Return the errors of each target; None without numbers, or with another number of names.

    Args:
        rows: the rows of a measurement.
        names: names of the targets, in their order.
    """
    import numpy as np

    if not rows.true_numbers or len(rows.true_numbers[0]) != len(names):
        return None
    true_nt = np.array(rows.true_numbers)
    errors_nt = np.array(rows.numbers) - true_nt
    spread_t = np.square(true_nt - true_nt.mean(axis=0)).sum(axis=0)
    targets = tuple(
        TargetError(
            name=name,
            mean_absolute_error=float(np.abs(errors_n).mean()),
            root_mean_squared_error=float(np.sqrt(np.square(errors_n).mean())),
            mean_error=float(errors_n.mean()),
            r2=float(1 - np.square(errors_n).sum() / spread) if np.ptp(true_n) > 0 else None,
        )
        for name, errors_n, true_n, spread in zip(names, errors_nt.T, true_nt.T, spread_t, strict=True)
    )
    return TargetErrors(targets=targets, rows=rows)
