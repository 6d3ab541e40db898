"""Every init starts at the outputs of the base model, and its export loads on the original base model."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora.config import CordaConfig
from peft.tuners.lora.corda import preprocess_corda

from orchestrator.core.errors import UserError
from orchestrator.core.methods.inits import INITS
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.adapters import Adapted, adapt, save_adapter
from orchestrator.training.model.base_model import load_unquantised
from orchestrator.training.model.starts import StartRows
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_llama
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.training.packed.packs import World, task

MODELS: dict[str, tuple[Callable[[Path], Path], Objective]] = {
    "bert": (tiny_bert, TinyClassification()),
    "llama": (tiny_llama, TinyCausal()),
}


@dataclass(frozen=True, slots=True)
class Start:
    """A model, its rows, and its logits without an adapter."""

    world: World
    batch: dict[str, torch.Tensor]
    logits: torch.Tensor

    def adapted(self, init: str, rank: int = 4, rows: int = 60) -> Adapted:
        trial = task(1, init=init, rank=rank)
        torch.manual_seed(trial.seed)
        world = self.world
        start = StartRows(
            objective=world.objective,
            tokenizer=world.data.tokenizer,
            rows=world.data.train(trial)[:rows],
            device="cpu",
            load_unquantised=partial(load_unquantised, world.source, world.objective),
        )
        return adapt(world.base(), trial.settings, world.objective.head, start)


@pytest.fixture(scope="module", params=sorted(MODELS))
def start(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Start:
    write, objective = MODELS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    world = World(write(folder / "model"), objective, folder / "sweep", packed=False)
    batch = world.batch(world.data.split("validation", 32))
    with torch.inference_mode():
        return Start(world, batch, forward(world.base().model.eval(), batch))


@pytest.mark.parametrize("init", sorted({*INITS} - {"default", "pissa", "pissa_niter_2", "pissa_niter_8", "loftq"}))
def test_export_loads_on_the_original_base(start: Start, init: str, tmp_path: Path) -> None:
    adapted = start.adapted(init)
    model = adapted.model.eval()
    torch.testing.assert_close(forward(model, start.batch).detach(), start.logits, rtol=0, atol=2e-6)
    loss_B, units_B = start.world.objective.losses(forward(model, start.batch), start.batch)
    (loss_B.sum() / units_B.sum()).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=0.3)
        trained = forward(model, start.batch)
        assert (trained - start.logits).abs().max() > 1e-3
        save_adapter(adapted, tmp_path)
        loaded = PeftModel.from_pretrained(start.world.base().model, str(tmp_path)).eval()
        torch.testing.assert_close(forward(loaded, start.batch), trained, rtol=0, atol=2e-6)


def test_eva_moves_ranks_and_learns_from_the_rows(start: Start, tmp_path: Path) -> None:
    first, again = (start.adapted("eva") for _ in range(2))
    save_adapter(first, tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["rank_pattern"]
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_corda_equals_peft(start: Start) -> None:
    """For layers with a time dimension; peft fails on the pooler of an encoder."""
    trial = task(1, init="corda", rank=4)
    world = start.world
    rows = world.data.train(trial)[:60]
    model = world.base().model
    names = "q_proj,down_proj" if "llama" in type(model).__name__.lower() else "query,intermediate.dense"
    alpha: Any = trial.settings.alpha  # typed as an integer by peft
    config = LoraConfig(
        r=4, lora_alpha=alpha, target_modules=names.split(","), init_lora_weights="corda",
        corda_config=CordaConfig(), task_type=None,
    )  # fmt: skip

    def run() -> None:
        for row in rows:
            forward(model, world.objective.collate([row], world.data.tokenizer))

    preprocess_corda(model, config, run)
    expected = get_peft_model_state_dict(get_peft_model(model, config), save_embedding_layers=False)
    found = get_peft_model_state_dict(start.adapted("corda").model, save_embedding_layers=False)
    assert {name for name in expected if "lora_A" in name}
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)


def test_corda_refuses_rank_above_a_side(start: Start) -> None:
    with pytest.raises(UserError, match=r"init corda supports ranks up to \d+ in base_model"):
        adapt(start.world.base(), TrialSettings(init="corda", rank=64), start.world.objective.head)


def test_too_few_rows_for_eva_are_an_error(start: Start) -> None:
    with pytest.raises(UserError, match=r"adapter.init: eva with rank 16 needs 32 training rows, got 20"):
        start.adapted("eva", rank=16, rows=20)


def test_olora_refuses_transposed_layers(tmp_path: Path) -> None:
    world = World(tiny_gpt2(tmp_path / "model"), TinyCausal(), tmp_path / "sweep", packed=False)
    with pytest.raises(UserError, match=r"init olora supports no Conv1D layer, such as .*c_attn"):
        adapt(world.base(), TrialSettings(init="olora"), TinyCausal.head)
