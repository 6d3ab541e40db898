"""A sweep as the ledger knows it."""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.core.facts import SweepFacts
from orchestrator.core.trial import TrialState

SUSPENDED = "suspended: "
"""How the reason begins of a sweep that something outside of it ended."""


class SweepStatus(enum.StrEnum):
    """Where a sweep is. INTERRUPTED sweeps go on when the same command runs again."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRecord:
    """One stored sweep.

    Attributes:
        id: the ledger's key.
        name: the sweep file's name for it.
        generation: 1 for the first sweep of that name; ``--fresh`` opens the next.
        fingerprint: what may not change when the sweep goes on: objective, model, data, space ... as plain JSON.
        spec_text: the sweep file as it was, overrides applied.
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
        """``name#generation``: how a person names this sweep and no other."""
        return f"{self.name}#{self.generation}"

    @property
    def key(self) -> str:
        """16 hex digits that tell this sweep from every other, of other ledgers too."""
        identity = f"{self.reference}@{round(self.created_at * 1000)}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


def standing(state: TrialState, status: SweepStatus) -> str:
    """Return a trial's state in a word: one that has not ended is ``suspended`` while its sweep does not run."""
    resting = state is TrialState.RUNNING and status is not SweepStatus.RUNNING
    return "suspended" if resting else state.value
