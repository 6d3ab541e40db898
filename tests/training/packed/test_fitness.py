"""What cannot be packed is found out, said, and trained by the solo engine in the same sweep."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DivergedError
from orchestrator.core.plan import EngineName, EnginePlan, Method, Precision
from orchestrator.core.trial import Report
from orchestrator.objective.protocol import Objective
from orchestrator.training.base_model import load_tokenizer
from orchestrator.training.engine import TrialRun
from orchestrator.training.packed.engine import PackedEngine
from orchestrator.training.packed.fitness import reason_not_to_pack
from orchestrator.training.task_data import TaskData
from tests.fakes.tiny_models import (
    bert_without_pooler,
    tiny_bert,
    tiny_deberta,
    tiny_gpt2,
    tiny_llama,
    tiny_roberta,
    tiny_starcoder2,
    tiny_t5,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.packed.packs import MADE_UP, task

DATA = DataPlan(source=MADE_UP, train=40, validation=20, test=12, train_eval=10)


@pytest.mark.parametrize(
    ("build", "objective", "reason"),
    [
        (tiny_bert, TinyClassification(), None),
        (bert_without_pooler, TinyClassification(), None),
        (tiny_roberta, TinyClassification(), None),
        (tiny_gpt2, TinyCausal(), None),
        (tiny_gpt2, TinyClassification(), None),
        (tiny_llama, TinyCausal(), None),
        (tiny_llama, TinyClassification(), None),
        (tiny_t5, TinySeq2Seq(), None),
        (tiny_t5, TinyClassification(), "ValueError: the decoder is given no mask"),
        (tiny_starcoder2, TinyCausal(), "in training its code draws random numbers"),
        (tiny_deberta, TinyClassification(), "its packed logits differ"),
    ],
)
def test_models_are_tried(
    build: Callable[[Path], Path], objective: Objective, reason: str | None, tmp_path: Path, device: str
) -> None:
    source = Source(origin=Origin.LOCAL, name=str(build(tmp_path)))
    tokenizer = load_tokenizer(source)
    rows = TaskData(objective, DATA, tokenizer).split("train", 32)
    found = reason_not_to_pack(source, objective, device, tokenizer, rows)
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_a_trial_that_cannot_be_packed_is_trained_alone_beside_the_pack(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = EnginePlan(
        objective="made up",
        method=Method.LORA,
        model=Source(origin=Origin.LOCAL, name=str(tiny_gpt2(tmp_path / "model"))),
        data=DATA,
        report_points=(16, 32),
        sweep_dir=str(tmp_path / "sweep"),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
        engine=EngineName.PACKED,
    )
    engine = PackedEngine(plan, TinyCausal())
    embedding = engine.start(task(0, target_modules="wte"))
    linear = engine.start(task(1, target_modules="c_attn"))
    wanted: dict[TrialRun, int] = {embedding: 32, linear: 32}
    found: dict[TrialRun, Report | DivergedError] = {}
    with caplog.at_level(logging.WARNING):
        while wanted:
            done = engine.step(wanted)
            found |= done
            wanted = {run: point for run, point in wanted.items() if run not in done}
    assert "trial 0 is trained by the solo engine: transformer.wte is a Embedding" in caplog.text
    assert not engine.holds(0)
    assert engine.holds(1)
    for run in (embedding, linear):
        report = found[run]
        assert isinstance(report, Report)
        assert (tmp_path / "sweep" / str(report.checkpoint) / "adapter/adapter_config.json").is_file()
        run.close()
    engine.close()
