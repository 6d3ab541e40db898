"""The facts of a sweep as JSON: every field, earlier versions, unknown keys."""

import json
from dataclasses import asdict
from typing import Any

import pytest

from orchestrator.core.data import DataPlan, DataSummary, Origin, Source
from orchestrator.core.errors import LedgerError
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.facts import FACTS_VERSION, FactChanges, SweepFacts, facts_from_json, facts_to_json
from orchestrator.core.sweeps.plan import EngineName, EnginePlan, Precision
from orchestrator.core.sweeps.policy import Preferred

SOURCE = Source(origin=Origin.HUB, name="org/rows", config="en")
PLAN = EnginePlan(
    objective="sentiment",
    model=SOURCE,
    data=DataPlan(source=SOURCE, shift={"late": SOURCE}, labels={"1": "good", "2": None}),
    report_points=(10, 20),
    sweep_dir="somewhere",
    metric="val/accuracy",
    precision=Precision.FLOAT32,
    engine=EngineName.PACKED,
    smallest={"rank": 4},
    kinds=({"method": "lora"}, {"method": "ia3"}),
    quantisation=Quantisation.NF4,
    deepspeed={"zero_optimization": {"stage": 2}},
    tried=({"dropout": 0.1},),
    searched=("rank",),
)
CHANGES: FactChanges = {
    "metric": Metric(name="val/accuracy", direction=Direction.MAXIMIZE),
    "rows": {"train": 8},
    "data_summary": DataSummary(labels={"1": "good"}, warnings=("few rows",), split_rule=2),
    "engine_plan": PLAN,
    "start_points": 3,
    "prefer": (Preferred.GAP, Preferred.RANK),
    "prior": "shipped: rank 8",
    "request_digest": "abc",
    "startup_s": 1.5,
    "baseline": {"val/accuracy": 0.5},
    "closings": ((1.0, 2.0),),
    "importances": {"rank": 0.25},
    "end_reason": "all trials ended",
    "notes": {"report": "no report: disk full"},
    "confirmation": "no training with fresh seeds: confirm is none",
    "removing": True,
}


def stored(changes: FactChanges) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(facts_to_json(changes)))
    return document


def test_every_field_survives_json() -> None:
    assert CHANGES.keys() == set(SweepFacts.__slots__)
    assert facts_from_json(stored(CHANGES)) == SweepFacts(**CHANGES)
    assert facts_from_json({}) == SweepFacts()


def test_stored_keys_stay() -> None:
    document = stored(CHANGES)
    assert document["version"] == FACTS_VERSION
    assert document.keys() == {
        *("metric", "data", "data_summary", "engine", "question", "startup_s", "baseline", "closing", "importances"),
        *("ended", "notes", "removing", "start_points", "prefer", "prior", "version", "confirmation"),
    }


def test_unknown_keys_are_ignored() -> None:
    plan = {**stored(CHANGES)["engine"], "method": "lora"}  # before methods were a setting
    summary = {"of_a_later_version": 1, "split_rule": 3}
    facts = facts_from_json({"rungs": [1], "versions": {}, "engine": plan, "data_summary": summary})
    assert facts == SweepFacts(engine_plan=PLAN, data_summary=DataSummary(split_rule=3))


def test_facts_of_a_later_version_are_refused() -> None:
    with pytest.raises(LedgerError, match=f"version {FACTS_VERSION + 1}; this Loratory reads versions up to"):
        facts_from_json({"version": FACTS_VERSION + 1})


def test_plan_without_split_rule_has_the_first() -> None:
    document = json.loads(json.dumps(asdict(PLAN)))
    del document["data"]["split_rule"]
    assert EnginePlan.from_json(document).data.split_rule == 1


def test_plan_of_the_required_keys_has_defaults() -> None:
    required = ("objective", "model", "data", "report_points", "sweep_dir", "metric")
    plan = EnginePlan.from_json({name: json.loads(json.dumps(asdict(PLAN)))[name] for name in required})
    assert plan == EnginePlan(**{name: getattr(PLAN, name) for name in required})


@pytest.mark.parametrize("plan", [{"engine": "packed"}, {}, {**asdict(PLAN), "precision": "int3"}])
def test_unreadable_plans_are_none(plan: dict[str, Any]) -> None:
    assert facts_from_json({"engine": plan, "ended": "x"}) == SweepFacts(end_reason="x")
