"""Trials are routed to the packed or the solo engine, which train in turns."""

import gc
import json
import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DivergedError, UserError
from orchestrator.core.methods.deepspeed import NAMED
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EngineName, EnginePlan, Precision
from orchestrator.core.trials.trial import Report
from orchestrator.objective.protocol import Head
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import TrialRun
from orchestrator.training.mixed import MixedEngine, MixedRun
from orchestrator.training.solo.engine import SoloEngine, SoloRun
from orchestrator.training.solo.trainer import SoloTrainer
from tests.contracts.engine_contract import learned
from tests.fakes.tiny_models import (
    tiny_bert,
    tiny_gpt2,
)
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.families.tiny_families import tiny_family
from tests.training.packed.packs import MADE_UP, task

DATA = DataPlan(source=MADE_UP, train=40, validation=20, test=12, train_eval=10)


def plan_of(model: Path, folder: Path, *kinds: Mapping[str, ParamValue]) -> EnginePlan:
    return EnginePlan(
        objective="made up",
        model=Source(origin=Origin.LOCAL, name=str(model)),
        data=DATA,
        report_points=(16, 32),
        sweep_dir=str(folder / "sweep"),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
        engine=EngineName.PACKED,
        smallest={"rank": 2, "max_length": 32},
        largest={"rank": 2, "max_length": 32},
        kinds=kinds,
    )


def trained(engine: MixedEngine, *runs: MixedRun) -> dict[int, Report]:
    """Train the runs to their end; return their reports by trial."""
    wanted: dict[TrialRun, int] = dict.fromkeys(runs, 32)
    outcomes: dict[TrialRun, Report | DivergedError] = {}
    while wanted:
        outcomes |= engine.step(wanted)
        wanted = {run: point for run, point in wanted.items() if run not in outcomes}
    reports = {}
    for run in runs:
        outcome = outcomes[run]
        assert isinstance(outcome, Report)
        reports[run.number] = outcome
    return reports


def test_capacity_names_the_solo_trials(tmp_path: Path) -> None:
    kinds = [{"target_modules": name, "dora": dora} for name in ("c_attn", "wte") for dora in (False, True)]
    engine = MixedEngine(EngineContext(plan_of(tiny_gpt2(tmp_path / "model"), tmp_path, *kinds), TinyCausal()))
    capacity = engine.capacity(3, measure=False)
    assert (capacity.packs, capacity.slots, capacity.why) == (True, 3, "")
    linear = "transformer.wte is a Embedding, and a pack trains only linear layers"
    assert capacity.alone == (
        f"trials with target_modules wte and dora false, because {linear}",
        f"trials with target_modules wte and dora true, because {linear}",
    )
    measured = engine.capacity(2, measure=True)
    assert measured.alone == capacity.alone
    assert "measured" in measured.why
    engine.close()
    engine = MixedEngine(EngineContext(plan_of(tmp_path / "model", tmp_path, kinds[2]), TinyCausal()))
    capacity = engine.capacity(3, measure=True)
    assert (capacity.packs, capacity.slots, capacity.why) == (False, 1, linear)
    engine.close()


def test_solo_engine_trains_methods_other_than_lora(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = ("ia3", "loha", "lokr", "vera")
    kinds = [{"method": "lora"}, *({"method": name} for name in others)]
    engine = MixedEngine(EngineContext(plan_of(tiny_bert(tmp_path / "model"), tmp_path, *kinds), TinyClassification()))
    capacity = engine.capacity(3, measure=False)
    assert (capacity.packs, capacity.slots) == (True, 3)
    assert capacity.alone == tuple(f"trials with method {name}, because packs train only LoRA" for name in others)
    runs = [engine.start(task(0)), *(engine.start(task(n, method=name)) for n, name in enumerate(others, 1))]
    with caplog.at_level(logging.WARNING):
        found = trained(engine, *runs)
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert all(f"trial {n} is trained by the solo engine: packs train only LoRA" in caplog.text for n in range(1, 5))
    assert engine.holds(0)
    for run in runs:
        folder = tmp_path / "sweep" / str(found[run.number].checkpoint) / "adapter"
        kind = json.loads((folder / "adapter_config.json").read_text())["peft_type"]
        assert kind.lower() == run.task.settings.method
        run.close()
    engine.close()
    engine = MixedEngine(EngineContext(plan_of(tmp_path / "model", tmp_path, {"method": "ia3"}), TinyClassification()))
    capacity = engine.capacity(3, measure=True)
    assert (capacity.packs, capacity.slots, capacity.why) == (False, 1, "packs train only LoRA")
    engine.close()


def test_settings_refused_by_peft_fail_before_first_trial(tmp_path: Path) -> None:
    kinds = [{"target_modules": name} for name in ("c_attn", "attn")]
    engine = MixedEngine(EngineContext(plan_of(tiny_gpt2(tmp_path / "model"), tmp_path, *kinds), TinyCausal()))
    with pytest.raises(UserError, match="attn cannot be started: Target module GPT2Attention is not supported"):
        engine.capacity(3, measure=False)
    engine.close()


def test_unknown_target_beside_known_target_is_error(tmp_path: Path) -> None:
    """Without the check peft ignores it, and adapts only half of the requested modules."""
    engine = MixedEngine(EngineContext(plan_of(tiny_gpt2(tmp_path / "model"), tmp_path), TinyCausal()))
    with pytest.raises(UserError, match=r"target_modules: .* are needed: c_attn, c_proj, .*; got c_att, q$"):
        engine.start(task(0, target_modules="c_attn, c_att, q")).advance(16)
    engine.close()
    kinds = [{"target_modules": "c_attn, q"}]
    engine = MixedEngine(EngineContext(plan_of(tmp_path / "model", tmp_path, *kinds), TinyCausal()))
    with pytest.raises(UserError, match=r"with target_modules c_attn, q cannot be started: target_modules: .*; got q$"):
        engine.capacity(3, measure=False)
    engine.close()


def test_pack_and_solo_trials_alternate_by_report(tmp_path: Path) -> None:
    engine = MixedEngine(EngineContext(plan_of(tiny_gpt2(tmp_path / "model"), tmp_path), TinyCausal()))
    runs = [engine.start(task(0)), engine.start(task(1, method="ia3")), engine.start(task(2))]
    points, order = dict.fromkeys(runs, 16), []
    while points:
        outcomes = engine.step({run: points[run] for run in runs if run in points})
        for run in [run for run in runs if run in outcomes]:
            order.append(run.number)
            points[run] = 32
            if order.count(run.number) == 2:
                del points[run]
    assert order in ([0, 2, 1, 0, 2, 1], [0, 2, 1, 0, 1, 2])
    for run in runs:
        run.close()
    engine.close()


def test_unfit_base_is_detected_in_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A sliding window has no effect on rows shorter than the window."""
    model = tiny_family("mistral", Head.CAUSAL_LM, tmp_path / "model", sliding_window=12)
    engine = MixedEngine(EngineContext(replace(plan_of(model, tmp_path), largest={"max_length": 10}), TinyCausal()))
    short, long = engine.start(task(0, max_length=10)), engine.start(task(1, max_length=32))
    assert engine.step({short: 16}) is not None
    assert engine.holds(0)
    with caplog.at_level(logging.WARNING):
        found = trained(engine, short, long)
    assert sorted(found) == [0, 1]
    assert "the solo engine trains all trials from here on: its attention is given sliding_window (12)" in caplog.text
    assert not engine.holds(0)
    for run in (short, long):
        run.close()
    engine.close()
    # Another process detects it when it only measures the trial.
    plan = plan_of(model, tmp_path)
    shifted = replace(plan.data, shift={"other": plan.data.source}, shift_rows=8)
    engine = MixedEngine(EngineContext(replace(plan, data=shifted), TinyCausal()))
    assert engine.start(task(1, max_length=32)).finish(32).keys() >= {"shift/other/loss"}
    engine.close()


def test_unpackable_trial_trains_solo_beside_the_pack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = MixedEngine(EngineContext(plan_of(tiny_gpt2(tmp_path / "model"), tmp_path), TinyCausal()))
    embedding = engine.start(task(0, target_modules="wte"))
    linear = engine.start(task(1, target_modules="c_attn"))
    with caplog.at_level(logging.WARNING):
        found = trained(engine, embedding, linear)
    assert "trial 0 is trained by the solo engine: transformer.wte is a Embedding" in caplog.text
    assert not engine.holds(0)
    assert engine.holds(1)
    for run in (embedding, linear):
        assert (tmp_path / "sweep" / str(found[run.number].checkpoint) / "adapter/adapter_config.json").is_file()
        run.close()
    engine.close()


def test_deepspeed_trials_train_solo(tmp_path: Path) -> None:
    plan = EnginePlan(
        objective="made up",
        model=Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "model"))),
        data=DATA,
        report_points=(16,),
        sweep_dir=str(tmp_path),
        metric="val/loss",
        engine=EngineName.PACKED,
        deepspeed=NAMED["zero2"],
    )
    engine = MixedEngine(EngineContext(plan, TinyClassification()))
    capacity = engine.capacity(8, measure=True)
    engine.close()
    assert (capacity.slots, capacity.packs, capacity.why) == (1, False, "DeepSpeed trains one model in a process")


class OutOfMemoryOnce:
    """A run that fails at its first report."""

    def __init__(self, run: SoloRun) -> None:
        self._run = run
        self._failed = False

    def advance(self, nominal_samples: int) -> Report:
        if not self._failed:
            self._failed = True
            raise MemoryError
        return self._run.advance(nominal_samples)

    def close(self) -> None:
        self._run.close()


def test_solo_trial_out_of_memory_halves_the_pack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = MixedEngine(EngineContext(plan_of(tiny_gpt2(tmp_path / "model"), tmp_path), TinyCausal()))
    runs = [engine.start(task(0)), engine.start(task(1, method="ia3")), engine.start(task(2))]
    engine.step(dict.fromkeys(runs, 16))
    solo = runs[1].solo
    assert solo is not None
    runs[1].solo = cast(SoloRun, OutOfMemoryOnce(solo))
    with caplog.at_level(logging.WARNING):
        assert sorted(trained(engine, *runs)) == [0, 1, 2]
    assert "out of memory with 2 trials: continuing with 1" in caplog.text
    for run in runs:
        run.close()
    engine.close()


def test_one_full_trial_at_a_time_is_in_memory(tmp_path: Path) -> None:
    """Its memory does not count in the number of slots. The freed trial resumes exactly."""
    tasks = [task(number, epochs=0.8, batch_size=8, rank=2, method="full") for number in (0, 1)]
    model = tiny_gpt2(tmp_path / "model")
    alone = SoloEngine(EngineContext(plan_of(model, tmp_path / "alone"), TinyCausal()))
    expected = {}
    for each in tasks:
        with closing(alone.start(each)) as trained_alone:
            expected[each.number] = [learned(trained_alone.advance(point)) for point in (16, 32)]
    alone.close()
    engine = MixedEngine(EngineContext(plan_of(model, tmp_path / "mixed"), TinyCausal()))
    runs = [engine.start(each) for each in tasks]
    for place, point in enumerate((16, 32)):
        outcomes = engine.step(dict.fromkeys(runs, point))
        for run in runs:
            report = outcomes[run]
            assert isinstance(report, Report)
            assert learned(report) == expected[run.number][place]
        assert sum(isinstance(each, SoloTrainer) for each in gc.get_objects()) == 1
    engine.close()
