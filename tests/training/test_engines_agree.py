"""Both engines train the same adapter: their reports are equal in float32 and without dropout."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.core.trials.trial import Report
from orchestrator.objective.protocol import Objective
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.solo.engine import SoloEngine
from tests.contracts.engine_contract import learned
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.packed.packs import task
from tests.training.plans import tiny_plan

POINTS = (40, 80)
MODELS: dict[str, tuple[Callable[[Path], Path], Objective]] = {
    "bert": (tiny_bert, TinyClassification()),
    "llama": (tiny_llama, TinyCausal()),
    "t5": (tiny_t5, TinySeq2Seq()),
}
TASKS = [
    task(0, epochs=2.0, rank=4, batch_size=8),
    task(1, epochs=2.0, rank=2, batch_size=4, accumulation=2, weight_decay=0.1, lora_plus_ratio=4.0, warmup_ratio=0.2),
    task(2, epochs=1.0, rank=8, batch_size=3, rslora=True, schedule="cosine", head_learning_rate=3e-3),
    task(3, epochs=1.5, rank=16, batch_size=16, init="pissa", label_smoothing=0.1, max_grad_norm=0.05, max_length=8),
]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_both_engines_report_the_same(tmp_path: Path, device: str, name: str) -> None:
    build, objective = MODELS[name]
    plan = tiny_plan(
        without_dropout(build(tmp_path / "model")),
        tmp_path / "sweep",
        report_points=POINTS,
        device=device,
        generation=GenerationPlan(max_new_tokens=5, rows=8, test_rows=6, every=1) if name != "bert" else None,
    )

    def reports(engine: Engine) -> list[dict[str, float]]:
        found: list[Report] = []
        with closing(engine):
            for trial in TASKS:
                with closing(engine.start(trial)) as run:
                    found += [run.advance(point) for point in plan.timetable.of(trial.settings)]
        return [learned(report) for report in found]

    solo = reports(SoloEngine(EngineContext(plan, objective)))
    packed = reports(MixedEngine(EngineContext(replace(plan, sweep_dir=str(tmp_path / "packed")), objective)))
    assert len(solo) == len(packed) == 7
    assert all(("val/rouge_l" in report) == (name != "bert") for report in solo)
    for one, other in zip(solo, packed, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-5)
