"""Two workers on a CPU train a trial like one process: the same losses, a whole adapter, also after a resume."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.methods.deepspeed import NAMED, ZERO, Config
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.evaluation.generation.answers import LEFT_OUT
from orchestrator.evaluation.generation.write import write
from orchestrator.training.build import build_engine
from orchestrator.training.solo.group import train_share
from tests import needs
from tests.fakes.tiny_models import tiny_bert, tiny_llama, without_dropout
from tests.fakes.tiny_sweep import tiny_sweep

POINTS = (16, 32, 64)
TASK = TrialTask(
    number=0,
    settings=TrialSettings(rank=4, batch_size=8, accumulation=2, learning_rate=1e-2, max_length=16, weight_decay=0.1),
    seed=7,
)
OFFLOADED: Config = {ZERO: {"stage": 3, "offload_optimizer": {"device": "cpu"}, "offload_param": {"device": "cpu"}}}
LOSSES = ("val/loss", "train/loss", "val/accuracy")


class KilledError(Exception):
    """Ends the workers at a report, as a kill does."""


class Recorder:
    """Receives the reports of a worker; raises ``KilledError`` at report number ``last``."""

    def __init__(self, last: int | None) -> None:
        self.reports: list[Report] = []
        self._last = last

    def push(self, value: Report) -> None:
        self.reports.append(value)
        if len(self.reports) == self._last:
            raise KilledError

    def check(self) -> None:
        pass


def work(rank: int, plan: EnginePlan, task: TrialTask, store: str, resumes: bool = True) -> None:
    """Train in one of the workers, ended at the first report; possibly resume from disk with a new model."""
    torch.set_num_threads(1)
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=plan.workers)
    with pytest.raises(KilledError):
        train_share(plan, task, Recorder(1))
    if resumes:
        resumed = Recorder(None)
        train_share(plan, task, resumed)
        assert [report.nominal_samples for report in resumed.reports] == [*POINTS[1:]], "it did not resume"
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> EnginePlan:
    """Return the plan of a causal language model, in one process."""
    folder = tmp_path_factory.mktemp("workers")
    tiny_sweep(folder)
    return EnginePlan(
        objective="sentiment",
        model=Source(origin=Origin.LOCAL, name=str(tiny_llama(folder / "llama"))),
        data=DataPlan(
            source=Source(origin=Origin.LOCAL, name=str(folder / "rows.csv")),
            train=64,
            validation=32,
            test=32,
            train_eval=16,
        ),
        report_points=POINTS,
        sweep_dir=str(folder / "sweep"),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
    )


def reports_of(plan: EnginePlan, task: TrialTask) -> list[Report]:
    """Return the reports of a trial in one process: trained, or from disk."""
    engine = build_engine(plan)
    run = engine.start(task)
    reports = [run.advance(point) for point in POINTS]
    run.close()
    engine.close()
    return reports


@pytest.fixture(scope="module")
def alone(plan: EnginePlan) -> list[Report]:
    """Return the reports of the trial trained in one process."""
    return reports_of(plan, TASK)


def compare(divided: EnginePlan, task: TrialTask, plan: EnginePlan, expected: list[Report]) -> None:
    """Compare the stored reports and the adapter of divided training with those of one process."""
    for one, other in zip(reports_of(divided, task), expected, strict=True):
        assert [one.metrics[name] for name in LOSSES] == pytest.approx(
            [other.metrics[name] for name in LOSSES], abs=1e-5
        )
    file = f"trials/0000/checkpoint-{POINTS[-1]}/adapter/adapter_model.safetensors"
    weights, whole = (load_file(Path(each.sweep_dir) / file) for each in (divided, plan))
    whole = {name: value for name, value in whole.items() if ".original_module." not in name}  # a head without use
    assert weights.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(None, id="FSDP2"),
        *(pytest.param(each, id=name, marks=needs.deepspeed) for name, each in NAMED.items()),
        pytest.param(OFFLOADED, id="offloaded", marks=needs.deepspeed),
    ],
)
def test_two_workers_train_as_one(config: Config | None, plan: EnginePlan, alone: list[Report], tmp_path: Path) -> None:
    divided = replace(plan, sweep_dir=str(tmp_path / "sweep"), workers=2, deepspeed=config)
    spawn(work, (divided, TASK, str(tmp_path / "store")), nprocs=2)
    compare(divided, TASK, plan, alone)


def write_late(rank: int, model: str, store: str) -> None:
    """Write answers in one of two workers; the time of the second one alone is over."""
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo"}
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    prompts = [[7, 8], [9, 10, 11], [12]]
    whole = write(loaded, prompts, tokenizer, 4)
    assert LEFT_OUT not in whole
    assert write(loaded, prompts, tokenizer, 4, batch_tokens=1, time_limit_s=3600.0) == whole
    limit_s = 3600.0 if rank == 0 else 0.0
    assert write(loaded, prompts, tokenizer, 4, batch_tokens=1, time_limit_s=limit_s) == [LEFT_OUT] * 3
    dist.barrier()
    dist.destroy_process_group()


def test_workers_agree_on_the_time_limit_of_answers(tmp_path: Path) -> None:
    spawn(write_late, (str(tiny_llama(tmp_path / "llama")), str(tmp_path / "store")), nprocs=2)


@pytest.mark.extended
def test_fsdp_resumes_with_another_number_of_workers(plan: EnginePlan, alone: list[Report], tmp_path: Path) -> None:
    divided = replace(plan, sweep_dir=str(tmp_path / "sweep"), workers=2)
    spawn(work, (divided, TASK, str(tmp_path / "store"), False), nprocs=2)
    compare(replace(divided, workers=1), TASK, plan, alone)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("changes", "is_encoder"),
    [
        ({"method": "ia3"}, False),
        ({"method": "loha"}, False),
        ({"method": "lokr"}, False),
        ({"method": "vera"}, False),
        ({"dora": True}, False),
        ({"options": {"trainable_token_indices": "[5, 6]"}}, False),
        ({"options": {"bias": "all"}}, True),
    ],
)
def test_methods_are_divided(changes: dict[str, Any], is_encoder: bool, plan: EnginePlan, tmp_path: Path) -> None:
    task = replace(TASK, settings=replace(TASK.settings, **changes))
    if is_encoder:
        model = Source(origin=Origin.LOCAL, name=str(without_dropout(tiny_bert(tmp_path / "bert"))))
        plan = replace(plan, model=model)
    one = replace(plan, sweep_dir=str(tmp_path / "one"))
    divided = replace(plan, sweep_dir=str(tmp_path / "two"), workers=2, checkpointing=True)
    spawn(work, (divided, task, str(tmp_path / "store")), nprocs=2)
    compare(divided, task, one, reports_of(one, task))
