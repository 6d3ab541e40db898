"""The choices of number format, attention and gradient checkpointing are stated with reasons."""

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import Attention, EngineName, EnginePlan, Precision
from orchestrator.training.process.computing import computing, recomputes, state_bytes

MADE_UP = Source(origin=Origin.LOCAL, name="made up")
PLAN = EnginePlan(
    objective="tiny",
    model=MADE_UP,
    data=DataPlan(source=MADE_UP, train=1, validation=1, test=1),
    report_points=(1,),
    sweep_dir="",
    metric="val/loss",
    device="cpu",
)


def test_choices_follow_the_hardware_and_the_engine() -> None:
    solo, packed = computing(PLAN), computing(replace(PLAN, engine=EngineName.PACKED))
    assert solo.precision.startswith(("bfloat16: this CPU has ins", "float32: this CPU has no ins"))
    assert solo.attention.startswith("eager, if it gives the results of the model's default")
    assert solo.checkpointing.startswith("off: a CPU has memory")
    assert not recomputes(PLAN, "cpu", 2**40, 0)
    assert packed.attention.startswith("the packed engine's own")
    assert packed.checkpointing == "off: the packed engine has none"
    mixed = computing(replace(PLAN, engine=EngineName.PACKED), mixed=True)
    assert mixed.attention == f"{packed.attention}; in the solo engine {solo.attention}"
    assert mixed.checkpointing == f"{packed.checkpointing}; in the solo engine {solo.checkpointing}"
    assert mixed.precision == packed.precision == solo.precision


def test_float16_states_its_loss_scale() -> None:
    found = computing(replace(PLAN, precision=Precision.FLOAT16)).precision
    assert found == "float16: set by training.precision, and each trial scales its loss"


@pytest.mark.parametrize("chosen", [True, False])
def test_choices_of_the_user_come_first(chosen: bool) -> None:
    plan = replace(PLAN, precision=Precision.FLOAT32, attention=Attention.SDPA, checkpointing=chosen)
    found = computing(plan)
    assert found.precision == "float32: set by training.precision"
    assert found.attention == "sdpa: set by training.attention"
    assert found.checkpointing.endswith("set by training.gradient_checkpointing")
    assert recomputes(plan, "cpu", 0, 0) is recomputes(plan, "cuda", 2**40, 0) is chosen


def zero(stage: int, **offloaded: dict[str, str]) -> dict[str, Any]:
    return {"zero_optimization": {"stage": stage, **offloaded}}


CPU = {"device": "cpu"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1000 + 400 + 800),
        ({"workers": 4}, 550),
        ({"workers": 4, "deepspeed": zero(1)}, 1000 + 400 + 200),
        ({"workers": 4, "deepspeed": zero(2)}, 1000 + 100 + 200),
        ({"workers": 4, "deepspeed": zero(3)}, 550),
        ({"deepspeed": zero(2, offload_optimizer=CPU)}, 1000 + 400),
        ({"deepspeed": zero(3, offload_param=CPU)}, 400 + 800),
    ],
)
def test_activations_are_recomputed_by_memory_of_worker(changes: dict[str, Any], expected: int) -> None:
    plan = replace(PLAN, device="cuda", **changes)
    assert state_bytes(plan, 1000, 100) == expected
    assert recomputes(plan, "cuda", 1000, 100, int(expected / 0.4) - 1)
    assert not recomputes(plan, "cuda", 1000, 100, int(expected / 0.4) + 1)
