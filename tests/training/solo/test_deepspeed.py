"""Training with DeepSpeed gives the losses, norms and weights of training without it, and frees its resources."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import DivergedError
from orchestrator.core.methods.catalogue import LORA, METHODS
from orchestrator.core.methods.deepspeed import NAMED, ZERO, Config
from orchestrator.core.space import ParamValue
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.data.order import data_order
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.solo.deepspeed_trainer import DeepSpeedTrainer
from orchestrator.training.solo.trainer import TRAINABLE, SoloTrainer, TrainingInputs
from tests import needs
from tests.contracts.engine_contract import AdapterContract, EngineContract
from tests.fakes.tiny_models import tiny_bert, tiny_llama, tiny_t5
from tests.fakes.tiny_objective import TinyCausal, TinyClassification, TinySeq2Seq
from tests.training.solo.test_engine import Solo

ROOT = Path(__file__).parents[3]
UPDATES = 20
SETTINGS = TrialSettings(
    rank=4,
    alpha=8,
    dropout=0.1,
    batch_size=3,
    accumulation=2,
    learning_rate=1e-2,
    head_learning_rate=5e-3,
    lora_plus_ratio=4.0,
    weight_decay=0.1,
    schedule="cosine",
    warmup_ratio=0.2,
)
OTHERS: dict[str, ParamValue] = {"batch_size": 3, "accumulation": 2, "learning_rate": 1e-2, "weight_decay": 0.1}
"""Settings supported by all methods."""
CONFIGS: dict[str, Config] = {
    **NAMED,
    "offloaded": {ZERO: {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
    "offloaded1": {ZERO: {"stage": 1, "offload_optimizer": {"device": "cpu"}}},
    "small buckets": {ZERO: {"stage": 2, "reduce_bucket_size": 100, "allgather_bucket_size": 100}},
    "not contiguous": {ZERO: {"stage": 1, "contiguous_gradients": False, "reduce_scatter": False}},
    "round robin": {ZERO: {"stage": 2, "round_robin_gradients": True, "overlap_comm": True}},
}


class Watch(TrainerCallback):
    """Records loss and gradient norm of every update."""

    trainer: SoloTrainer

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.seen.append((self.trainer.update_loss, self.trainer.update_norm))


class Trained(NamedTuple):
    """Loss and norm of every update, the change of the weights, and the state of DeepSpeed."""

    updates: list[tuple[float, float]]
    weights: Mapping[str, torch.Tensor]
    stage: int | None
    steps: int


def trained(
    config: Config | None,
    folder: Path,
    settings: TrialSettings = SETTINGS,
    *,
    dtype: torch.dtype = torch.float32,
    model: tuple[Callable[[Path], Path], Objective] = (tiny_bert, TinyClassification()),
) -> Trained:
    build, objective = model
    source = Source(origin=Origin.LOCAL, name=str(build(folder / "model")))
    data = TaskData(objective, DataPlan(source=source, train=40, validation=2, test=2), load_tokenizer(source))
    rows = data.split("train", 32)
    torch.manual_seed(5)
    adapted = adapt(load_base(source, objective, "cpu"), settings, objective.head)
    order = data_order([len(row["input_ids"]) for row in rows], settings.rows_per_update, UPDATES, 3)
    inputs = TrainingInputs(objective=objective, tokenizer=data.tokenizer, rows=rows, order=order, dtype=dtype)
    task, watch = TrialTask(number=0, settings=settings, seed=3), Watch()
    scratch = folder / "scratch"
    trainer = (
        SoloTrainer(adapted, inputs, task, scratch, [watch])
        if config is None
        else DeepSpeedTrainer(adapted, inputs, task, scratch, [watch], config)
    )
    watch.trainer, stage, steps = trainer, None, 0
    try:
        trainer.train()
        if isinstance(trainer, DeepSpeedTrainer):
            assert trainer.engine is not None
            stage, steps = int(trainer.engine.zero_optimization_stage()), trainer.engine.global_steps
        trainer.save_model(str(folder / "whole"))
    finally:
        trainer.close()
    weights = load_file(folder / "whole" / TRAINABLE)
    assert len(watch.seen) == UPDATES
    return Trained(watch.seen, weights, stage, steps)


def assert_same(found: Trained, expected: Trained, config: Config) -> None:
    """Compare training with and without DeepSpeed: to 1e-5, tensors by their norms."""
    assert (found.stage, found.steps) == (config[ZERO]["stage"], UPDATES)
    assert found.updates == [pytest.approx(each, rel=1e-5) for each in expected.updates]
    assert found.weights.keys() == expected.weights.keys()
    for name, weight in expected.weights.items():
        assert (found.weights[name] - weight).norm() <= 1e-5 * weight.norm(), name


@needs.deepspeed
class TestAsWithout:
    @pytest.fixture(scope="class")
    def clipping(self, tmp_path_factory: pytest.TempPathFactory) -> TrialSettings:
        """Settings with some clipped and some unclipped updates."""
        norms = sorted(norm for _, norm in trained(None, tmp_path_factory.mktemp("free")).updates)
        return replace(SETTINGS, max_grad_norm=norms[UPDATES // 2])

    @pytest.fixture(scope="class")
    def expected(self, clipping: TrialSettings, tmp_path_factory: pytest.TempPathFactory) -> Trained:
        found = trained(None, tmp_path_factory.mktemp("plain"), clipping)
        assert 0 < sum(norm > clipping.max_grad_norm for _, norm in found.updates) < UPDATES
        return found

    @pytest.mark.parametrize("name", CONFIGS)
    def test_losses_norms_and_weights_are_the_same(
        self, name: str, clipping: TrialSettings, expected: Trained, tmp_path: Path
    ) -> None:
        assert_same(trained(CONFIGS[name], tmp_path, clipping), expected, CONFIGS[name])

    @pytest.mark.parametrize("model", [(tiny_llama, TinyCausal()), (tiny_t5, TinySeq2Seq())], ids=["llama", "t5"])
    def test_decoders_train_alike(self, model: tuple[Callable[[Path], Path], Objective], tmp_path: Path) -> None:
        config = NAMED["zero2"]
        assert_same(trained(config, tmp_path, model=model), trained(None, tmp_path, model=model), config)

    @pytest.mark.parametrize(
        "method", [name for name, method in METHODS.items() if method.with_deepspeed and name != LORA]
    )
    def test_methods_other_than_lora_train_alike(self, method: str, tmp_path: Path) -> None:
        settings, config = TrialSettings.from_params(OTHERS | {"method": method}), NAMED["zero2"]
        assert_same(trained(config, tmp_path, settings), trained(None, tmp_path, settings), config)

    def test_bfloat16_products_are_the_same(self, clipping: TrialSettings, expected: Trained, tmp_path: Path) -> None:
        config = NAMED["zero2"]
        rough = trained(None, tmp_path, clipping, dtype=torch.bfloat16)
        assert rough.updates != expected.updates
        assert_same(trained(config, tmp_path, clipping, dtype=torch.bfloat16), rough, config)

    @pytest.mark.filterwarnings("ignore")
    def test_diverging_update_is_not_made(self, clipping: TrialSettings, expected: Trained, tmp_path: Path) -> None:
        with pytest.raises(DivergedError, match="at update"):
            trained(NAMED["zero2"], tmp_path, replace(clipping, alpha=1e38, learning_rate=10.0))
        assert_same(trained(NAMED["zero2"], tmp_path, clipping), expected, NAMED["zero2"])  # the process still works


@needs.deepspeed
class TestBert(Solo, EngineContract):
    objective = TinyClassification()
    targets = "query, value"
    deepspeed = NAMED["zero2"]

    def write_model(self, folder: Path) -> Path:
        return tiny_bert(folder)


@needs.deepspeed
class TestT5Offloaded(Solo, AdapterContract):
    objective = TinySeq2Seq()
    targets = "q,v,wo"
    deepspeed = CONFIGS["offloaded1"]
    decomposes = False

    def write_model(self, folder: Path) -> Path:
        return tiny_t5(folder)


ALONE = """
import os, sys
from orchestrator.training.solo.zero import join_world
join_world("cpu")
join_world("cpu")
import psutil, torch
import deepspeed.comm
assert not {"DS_ACCELERATOR", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} & {*os.environ}
total = torch.ones(3)
deepspeed.comm.all_reduce(total)
assert total.tolist() == [1, 1, 1]
listening = [c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
print("joined", sorted(set(listening)), flush=True)
sys.stdin.readline()
"""


@needs.deepspeed
def test_parallel_processes_have_separate_groups_without_open_ports() -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("MASTER_")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ALONE],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ends = [process.communicate("\n", timeout=120) for process in processes]
    for process, (output, errors) in zip(processes, ends, strict=True):
        lines = output.splitlines()
        assert process.returncode == 0, errors
        assert lines in (["joined ['127.0.0.1']"], ["joined []"]), errors


class Recorder:
    """Records the calls of its methods by name."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments, **_named: self.calls.append(name)


def test_accelerate_steps_inside_its_backward() -> None:
    from accelerate.utils.deepspeed import DeepSpeedEngineWrapper

    engine = Recorder()
    DeepSpeedEngineWrapper(engine).backward(torch.tensor(1.0))
    assert engine.calls[-2:] == ["backward", "step"]


@needs.deepspeed
def test_default_gradient_buffer_takes_2_gb() -> None:
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    assert DeepSpeedZeroConfig().reduce_bucket_size * torch.float32.itemsize == 2_000_000_000


@needs.deepspeed
@pytest.mark.parametrize("name", ["cpu_adam", "deepspeed_shm_comm"])
def test_cpu_operations_are_installed_uncompiled(name: str) -> None:
    from deepspeed.git_version_info import installed_ops

    assert installed_ops[name] is False
