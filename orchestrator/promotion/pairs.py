"""Paired tests of two registered versions on the same stored test rows."""

import math
from dataclasses import dataclass

from orchestrator.core.trials.row_measures import Measurement
from orchestrator.ledger.ledger import Ledger
from orchestrator.promotion.gates.paired import paired_test
from orchestrator.promotion.gates.stored_rows import rows_of_version
from orchestrator.tracking.location import Location
from orchestrator.tracking.registered.registry import Version

METRICS = ("accuracy", "macro_f1", "f1", "loss")


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedGain:
    """The gain of one version over another in one test metric; for a loss, the decrease.

    Attributes:
        metric: the metric, with its split.
        gain: a positive gain is an improvement.
        low, high: limits of its 95 % interval, with the noise of the rows.
        p: p-value against equal versions, two-sided.
        rows: number of test rows.
    """

    metric: str
    gain: float
    low: float
    high: float
    p: float
    rows: int


def paired_gains(
    before: Version, after: Version, location: Location, ledger: Ledger | None
) -> tuple[PairedGain, ...] | None:
    """Return the gains of ``after`` over ``before``; None: they have no test rows in common.

    Args:
        before: the version compared with.
        after: the other version.
        location: their registry.
        ledger: has the rows of versions registered by early releases; None: there is none.
    """
    old, new = (rows_of_version(version, location, ledger) for version in (before, after))
    if old is None or new is None or old.digest != new.digest:
        return None
    found = (_gain(name, old.measurement, new.measurement) for name in METRICS)
    return tuple(item for item in found if item is not None)


def _gain(name: str, before: Measurement, after: Measurement) -> PairedGain | None:
    """Return the gain in one metric; None: the rows do not give its measured values."""
    if name not in before.metrics or name not in after.metrics:
        return None
    test = paired_test(name, after.rows, before.rows)
    measured = (after.metrics[name] - before.metrics[name]) * (-1 if name == "loss" else 1)
    if test is None or not math.isclose(measured, test.difference.value, rel_tol=1e-4, abs_tol=1e-6):
        return None
    limits = test.difference
    return PairedGain(
        metric=f"test/{name}", gain=limits.value, low=limits.low, high=limits.high, p=test.p_differs, rows=test.rows
    )
