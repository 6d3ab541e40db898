"""An engine is built from a plan."""

from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import AssetError
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.training.build import build_engine
from tests.fakes.tiny_models import tiny_bert


def test_engine_is_built_from_a_plan(tmp_path: Path) -> None:
    bert = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    rows = tmp_path / "rows.csv"
    lines = [f"the film was {word} number {i},{label}" for i in range(20) for word, label in (("good", 1), ("bad", 0))]
    rows.write_text("\n".join(["text,label", *lines]))
    plan = EnginePlan(
        objective="sentiment",
        model=bert,
        data=DataPlan(source=Source(origin=Origin.LOCAL, name=str(rows)), train=20, validation=10, test=10),
        report_points=(16,),
        sweep_dir=str(tmp_path / "sweep"),
        metric="val/accuracy",
        device="cpu",
    )
    build_engine(plan).close()
    missing = Source(origin=Origin.LOCAL, name=str(tmp_path / "nowhere"))
    with pytest.raises(AssetError, match="is not a folder"):
        build_engine(EnginePlan(**{name: getattr(plan, name) for name in plan.__slots__} | {"model": missing}))
