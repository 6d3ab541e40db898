"""Two workers on a CPU train a trial like one process: the same losses, a whole adapter, also after a resume."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.deepspeed import NAMED, ZERO, Config
from orchestrator.core.plan import EnginePlan, Precision
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import Report, TrialTask
from orchestrator.training.build import build_engine
from orchestrator.training.solo.group import train_share
from tests import needs
from tests.fakes.tiny_models import tiny_llama
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


def work(rank: int, plan: EnginePlan, store: str, last: int | None) -> None:
    """Train in one of the workers."""
    torch.set_num_threads(1)
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=plan.workers)
    recorder = Recorder(last)
    try:
        train_share(plan, TASK, recorder)
    except KilledError:
        return
    assert [report.nominal_samples for report in recorder.reports] == [*POINTS[1:]], "it did not resume"
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EnginePlan, list[Report]]]:
    """Return the plan and the reports of the same trial in one process."""
    folder = tmp_path_factory.mktemp("alone")
    tiny_sweep(folder)
    plan = EnginePlan(
        objective="sentiment",
        model=Source(origin=Origin.LOCAL, name=str(tiny_llama(folder / "llama"))),
        data=DataPlan(
            source=Source(origin=Origin.LOCAL, name=str(folder / "rows.csv")),
            train=64,
            validation=32,
            test=32,
            train_eval=16,
            general=Source(origin=Origin.LOCAL, name=str(folder / "rows.csv")),
        ),
        report_points=POINTS,
        early=("forgetting/similarity",),
        early_from=POINTS[1],
        sweep_dir=str(folder / "sweep"),
        metric="val/loss",
        precision=Precision.FLOAT32,
        device="cpu",
    )
    engine = build_engine(plan)
    run = engine.start(TASK)
    yield plan, [run.advance(point) for point in POINTS]
    run.close()
    engine.close()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(None, id="FSDP2"),
        *(pytest.param(each, id=name, marks=needs.deepspeed) for name, each in NAMED.items()),
        pytest.param(OFFLOADED, id="offloaded", marks=needs.deepspeed),
    ],
)
def test_two_workers_train_as_one(
    config: Config | None, alone: tuple[EnginePlan, list[Report]], tmp_path: Path
) -> None:
    plan, expected = alone
    early = plan.early if config is None else ()
    divided = replace(plan, sweep_dir=str(tmp_path / "sweep"), workers=2, deepspeed=config, early=early)
    for attempt, last in enumerate((1, None)):  # killed at the first report, then resumed
        spawn(work, (divided, str(tmp_path / f"store{attempt}"), last), nprocs=2)
    engine = build_engine(divided)
    run = engine.start(TASK)
    found = [run.advance(point) for point in POINTS]  # from disk
    engine.close()
    for one, other in zip(found, expected, strict=True):
        assert [one.metrics[name] for name in LOSSES] == pytest.approx(
            [other.metrics[name] for name in LOSSES], abs=1e-5
        )
        if early and one.nominal_samples >= plan.early_from:
            forgotten, expected_forgotten = (each.metrics["forgetting/similarity"] for each in (one, other))
            assert forgotten == pytest.approx(expected_forgotten, abs=1e-3)
    file = f"trials/0000/checkpoint-{POINTS[-1]}/adapter/adapter_model.safetensors"
    weights, whole = load_file(tmp_path / "sweep" / file), load_file(Path(plan.sweep_dir) / file)
    assert weights.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5, msg=name)
