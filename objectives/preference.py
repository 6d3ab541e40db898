"""Prefers one answer to a prompt over another: DPO and similar losses, on pairs from the data."""

from orchestrator.core.data import Origin, Source
from orchestrator.objective.preference.objective import PreferencePairs


class Preference(PreferencePairs):
    """The columns are ``prompt``, ``chosen`` and ``rejected``; the prompt is followed by the answer as it is."""

    name = "preference"
    default_source = Source(origin=Origin.LOCAL, name="preferences.jsonl")


OBJECTIVE = Preference()
