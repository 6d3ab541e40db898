"""Options of LoRA reach peft, train alike in both engines, and their adapters load on the original base model."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from orchestrator.core.errors import UserError
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import Report, TrialTask
from orchestrator.evaluation.measure import forward
from orchestrator.training.checkpoints.trial_folder import SLOT_STATE
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.model.adapters import adapt
from orchestrator.training.solo.engine import SoloEngine
from tests.contracts.engine_contract import learned
from tests.fakes.tiny_models import tiny_bert, tiny_llama, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.training.packed.packs import World, task

PACKED: dict[str, dict[str, ParamValue]] = {
    "ranks": {"options.rank_pattern": '{"query": 2, "layer.1.*dense": 7}', "options.alpha_pattern": '{"value": 3.5}'},
    "subtracted": {"options.rank_pattern": '{"query": 2}', "options.alpha_pattern": '{"query": 3}', "init": "pissa"},
    "dora": {"options.rank_pattern": '{"key": 2}', "dora": True},
    "layers": {"options.layers_to_transform": "[1]", "options.layers_pattern": "layer"},
    "excluded": {"options.exclude_modules": '["query", "intermediate.dense"]'},
    "excluded paths": {"options.exclude_modules": ".*layer.0.*"},
    "saved": {"options.modules_to_save": '["LayerNorm"]', "weight_decay": 10.0, "head_learning_rate": 0.01},
}
SOLO: dict[str, dict[str, ParamValue]] = {
    "bias": {"options.bias": "lora_only"},
    "every bias": {"options.bias": "all"},
    "tokens": {"options.trainable_token_indices": "[3, 5, 7]"},
    "parameters": {"options.target_parameters": '["query.weight"]', "target_modules": "value"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("options")
    model = without_dropout(tiny_bert(folder / "model"))
    return World(model, TinyClassification(), folder / "sweep", packed=False)


def reports(plan: EnginePlan, build: Callable[[EngineContext], Engine], trial: TrialTask) -> list[Report]:
    with closing(build(EngineContext(plan, TinyClassification()))) as engine:
        run = engine.start(trial)
        return [run.advance(point) for point in plan.report_points]


def trial_of(options: dict[str, ParamValue]) -> TrialTask:
    trial = task(0, rank=4, learning_rate=3e-3)
    return replace(trial, settings=TrialSettings.from_params({**trial.settings.to_json(), **options}))


@pytest.mark.parametrize("name", [*PACKED, *SOLO])
def test_trained_adapter_loads_on_the_original_base(world: World, tmp_path: Path, name: str) -> None:
    trial, points = trial_of((PACKED | SOLO)[name]), (16, 32)
    engines: dict[str, Callable[[EngineContext], Engine]] = {"solo": SoloEngine, "mixed": MixedEngine}
    plans = {
        kind: replace(world.plan, report_points=points, rows_per_epoch=None, sweep_dir=str(tmp_path / kind))
        for kind in engines
    }
    solo, mixed = (reports(plans[kind], engine, trial) for kind, engine in engines.items())
    for one, other in zip(solo, mixed, strict=True):
        assert learned(one) == pytest.approx(learned(other), rel=1e-3, abs=1e-4)
    checkpoint = tmp_path / "mixed" / (mixed[-1].checkpoint or "")
    assert (checkpoint / SLOT_STATE).exists() == (name in PACKED)
    batch = world.batch(world.data.split("validation", 32))
    plain = PeftModel.from_pretrained(world.base().model, str(checkpoint / "adapter")).eval()
    with torch.inference_mode():
        loss_B, units_B = world.objective.losses(forward(plain, batch), batch)
    assert (loss_B.sum() / units_B.sum()).item() == pytest.approx(mixed[-1].metrics["val/loss"], abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank_pattern": '{"quary": 2}'}, r"options.rank_pattern: quary matches no adapted layer, such as .*query"),
        ({"rank_pattern": '{"query": 0}'}, r"options.rank_pattern: an integer >= 1 is needed for query, got 0"),
        ({"alpha_pattern": '{"query": "a"}'}, r"options.alpha_pattern: a number > 0 is needed for query, got 'a'"),
        ({"layers_to_transform": "[1, 9]"}, r"options.layers_to_transform: no adapted layer has the number 9"),
        ({"exclude_modules": '["quary"]'}, r"options.exclude_modules: this model has no module called quary"),
        ({"modules_to_save": '["norm"]'}, r"options.modules_to_save: this model has no module called norm"),
        (
            {"target_parameters": '["experts"]'},
            r"options.target_parameters: this model has no parameter called experts",
        ),
    ],
)
def test_entry_without_effect_is_an_error(world: World, options: dict[str, str], message: str) -> None:
    settings = TrialSettings.from_params({f"options.{name}": value for name, value in options.items()})
    with pytest.raises(UserError, match=message):
        adapt(world.base(), settings, world.objective.head)


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    """One trained embedding serves both ends of a model with tied weights."""
    folder = tiny_llama(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    world = World(folder, TinyCausal(), tmp_path / "sweep", packed=False)
    given = {"options.modules_to_save": '["embed_tokens"]', "options.ensure_weight_tying": True}
    model = adapt(world.base(), TrialSettings.from_params(given), TinyCausal.head).model
    saved = {name: value for name, value in model.named_parameters(remove_duplicate=False) if "modules_to_save" in name}
    assert {name.split(".")[-4] for name in saved} == {"embed_tokens", "lm_head"}
    assert len({value.data_ptr() for value in saved.values()}) == 1


def test_config_holds_the_options(world: World) -> None:
    settings = TrialSettings.from_params({"options.rank_pattern": json.dumps({"query": 2})})
    config = adapt(world.base(), settings, world.objective.head).model.peft_config["default"]
    assert config.to_dict()["rank_pattern"] == {"query": 2}
