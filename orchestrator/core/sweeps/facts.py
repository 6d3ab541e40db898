"""The facts of a sweep: results of its preparation and its end, typed, and as the ledger's JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, TypedDict

from orchestrator.core.data import DataSummary
from orchestrator.core.errors import LedgerError
from orchestrator.core.metric import Metric
from orchestrator.core.sweeps.goal import metric_from_json
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.sweeps.policy import PREFER, Preferred

FACTS_VERSION = 1
"""Version of the stored JSON, under the key ``version``; facts without that key are older."""

_KEYS = {
    "rows": "data",
    "engine_plan": "engine",
    "request_digest": "question",
    "closings": "closing",
    "end_reason": "ended",
}
"""Stored keys of the fields with another name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepFacts:
    """Facts of one sweep. A field keeps its default until a driver stores it.

    Attributes:
        metric: the searched metric.
        rows: number of rows by split.
        data_summary: counts of the rows used and left out, and the labels.
        engine_plan: plan of the sweep's last engines; also None if an earlier version stored it in another form.
        start_points: number of start points; the first trials train them.
        prefer: what is preferred among adapters that cannot be told apart, the most important first.
        prior: the start points that ``search.prior`` added and their origin, in words; None: none.
        request_digest: digest of the finished request; None while the sweep is not finished.
        startup_s: start-up time of all drivers, in seconds.
        baseline: metrics of the objective's baseline; None: not fitted.
        closings: begin and end of each measurement after the search, in seconds since the epoch.
        importances: each searched parameter's share of the variance of the score.
        end_reason: why the last run ended, in words.
        notes: one sentence for each failed step, by part.
        confirmation: the trainings with fresh seeds and the reason for their number, in words; None: not ended yet, or
            an earlier version wrote the sweep.
        removing: whether the removal of the sweep has begun.
    """

    metric: Metric | None = None
    rows: Mapping[str, int] = field(default_factory=dict)
    data_summary: DataSummary = field(default_factory=DataSummary)
    engine_plan: EnginePlan | None = None
    start_points: int = 0
    prefer: tuple[Preferred, ...] = PREFER
    prior: str | None = None
    request_digest: str | None = None
    startup_s: float = 0.0
    baseline: Mapping[str, float] | None = None
    closings: tuple[tuple[float, float], ...] = ()
    importances: Mapping[str, float] = field(default_factory=dict)
    end_reason: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    confirmation: str | None = None
    removing: bool = False


class FactChanges(TypedDict, total=False):
    """New values for some fields of ``SweepFacts``; the other fields stay as they are stored."""

    metric: Metric
    rows: Mapping[str, int]
    data_summary: DataSummary
    engine_plan: EnginePlan
    start_points: int
    prefer: tuple[Preferred, ...]
    prior: str | None
    request_digest: str | None
    startup_s: float
    baseline: Mapping[str, float]
    closings: tuple[tuple[float, float], ...]
    importances: Mapping[str, float]
    end_reason: str
    notes: Mapping[str, str]
    confirmation: str
    removing: bool


def facts_to_json(changes: FactChanges) -> dict[str, object]:
    """Return the changes as plain JSON, to be merged into the stored facts key by key."""
    stored: dict[str, object] = {"version": FACTS_VERSION}
    for name, value in changes.items():
        stored[_KEYS.get(name, name)] = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return stored


def facts_from_json(stored: Mapping[str, Any]) -> SweepFacts:
    """Return the facts of this or an earlier version; unknown keys are ignored.

    Raises:
        LedgerError: a later version wrote them.
    """
    version = stored.get("version", 0)
    if version > FACTS_VERSION:
        raise LedgerError(
            f"the ledger has a sweep with facts of version {version}; this Loratory reads versions up to "
            f"{FACTS_VERSION}. Upgrade it, or set LORATORY_HOME to another folder"
        )
    metric, plan = stored.get("metric"), stored.get("engine")
    return SweepFacts(
        metric=None if metric is None else metric_from_json(metric),
        rows=stored.get("data") or {},
        data_summary=DataSummary.from_json(stored.get("data_summary") or {}),
        engine_plan=None if plan is None else _readable_plan(plan),
        start_points=stored.get("start_points", 0),
        prefer=tuple(Preferred(each) for each in stored.get("prefer", PREFER) if each in set(Preferred)),
        prior=stored.get("prior"),
        request_digest=stored.get("question"),
        startup_s=stored.get("startup_s", 0.0),
        baseline=stored.get("baseline"),
        closings=tuple((begin, end) for begin, end in stored.get("closing", ())),
        importances=stored.get("importances") or {},
        end_reason=stored.get("ended"),
        notes=stored.get("notes") or {},
        confirmation=stored.get("confirmation"),
        removing=bool(stored.get("removing")),
    )


def _readable_plan(stored: Mapping[str, Any]) -> EnginePlan | None:
    try:
        return EnginePlan.from_json(stored)
    except (KeyError, TypeError, ValueError):  # another version's form: views work without the plan
        return None
