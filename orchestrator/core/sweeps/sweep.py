"""The ledger's record of a sweep."""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.sweeps.facts import SweepFacts
from orchestrator.core.trials.trial import TrialState

SUSPENDED = "suspended: "
"""Prefix of the end reason of a sweep suspended by an outside failure."""


class SweepStatus(enum.StrEnum):
    """Status of a sweep. The same command resumes an INTERRUPTED sweep."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRecord:
    """One stored sweep.

    Attributes:
        id: the ledger's key.
        name: the name in the sweep file.
        generation: 1 for the first sweep of a name; ``--fresh`` opens the next.
        fingerprint: the part of the sweep that must not change between runs (objective, model, data, space ...), as
            plain JSON.
        spec_text: the sweep file of the last run, overrides applied.
        facts: results of the sweep's preparation and its end.
        elapsed_s: time in which drivers ran the sweep, in seconds.
        experiment_id, run_id: the tracking server's ids of the experiment and of the parent run.
    """

    id: int
    name: str
    generation: int
    status: SweepStatus
    fingerprint: Mapping[str, Any]
    spec_text: str
    created_at: float
    facts: SweepFacts = field(default_factory=SweepFacts)
    elapsed_s: float = 0.0
    experiment_id: str | None = None
    run_id: str | None = None

    @property
    def reference(self) -> str:
        """``name#generation``, unique in a ledger."""
        return f"{self.name}#{self.generation}"

    @property
    def key(self) -> str:
        """Identifier of 16 hex digits, unique among all ledgers."""
        identity = f"{self.reference}@{round(self.created_at * 1000)}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


def state_word(state: TrialState, status: SweepStatus) -> str:
    """Return a trial's state in one word; a running trial of a sweep without a driver is ``suspended``."""
    suspended = state is TrialState.RUNNING and status is not SweepStatus.RUNNING
    return "suspended" if suspended else state.value
