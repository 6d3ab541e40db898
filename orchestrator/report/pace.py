"""The speed of an earlier, similar sweep, to estimate the duration of a new one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.sweep_spec import SweepSpec

_ALIKE = ("objective", "model", "quantisation", "deepspeed", "method", "data", "precision", "stopping")
"""Parts of the fingerprint which determine the time for one row, without the search space."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Training rows per second of a whole sweep, including start-up and evaluation."""

    sweep: str
    rows_per_s: float


def earlier_pace(ledger: Ledger, spec: SweepSpec) -> Pace | None:
    """Return the pace of the newest sweep with the same base model, data and engine; None without one."""
    wanted = _traits(fingerprint(spec), spec.resources.engine.value)
    for sweep in reversed(ledger.sweeps.all()):
        if _traits(sweep.fingerprint, _engine(sweep)) == wanted:
            rows = _rows_trained(ledger, sweep)
            if rows > 0 and sweep.elapsed_s > 0:
                return Pace(sweep=sweep.reference, rows_per_s=rows / sweep.elapsed_s)
    return None


def _traits(fingerprint: Mapping[str, Any], engine: str | None) -> tuple[Any, ...]:
    return (engine, *(fingerprint.get(name) for name in _ALIKE))


def _engine(sweep: SweepRecord) -> str | None:
    plan = sweep.facts.engine_plan
    return None if plan is None else plan.engine.value


def _rows_trained(ledger: Ledger, sweep: SweepRecord) -> int:
    return sum(record.samples for record in ledger.trials.all(sweep.id))
