"""LoftQ starts A and B from the rounding error of a base model in 4 bits."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.utils import loftq_utils
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.evaluation.measure import forward
from orchestrator.objective.protocol import Objective
from orchestrator.training.model.adapters import Adapted, adapt, save_adapter
from orchestrator.training.model.base_model import load_unquantised, with_adapter
from orchestrator.training.model.starts import StartRows
from orchestrator.training.packed.errors import CannotPackError
from orchestrator.training.packed.slots.adapter import require_packable
from tests import needs
from tests.fakes.tiny_models import tiny_bert, tiny_gpt2, tiny_llama, without_dropout
from tests.fakes.tiny_objective import TinyCausal, TinyClassification
from tests.training.packed.packs import World, task

RANK = 8
MODELS: dict[str, tuple[Callable[[Path], Path], Objective]] = {
    "bert": (partial(tiny_bert, width=64), TinyClassification()),
    "gpt2": (partial(tiny_gpt2, width=64), TinyCausal()),
    "llama": (partial(tiny_llama, width=64), TinyCausal()),
}


def started(world: World, init: str, *, rank: int = RANK, alpha: float = 2.0 * RANK) -> Adapted:
    """Return a new adapter over the quantised base model, with rank and alpha of their own in one layer."""
    trial = task(1, init=init, rank=rank, alpha=alpha)
    load = partial(load_unquantised, world.source, world.objective)
    start = StartRows(objective=world.objective, tokenizer=world.data.tokenizer, rows=(), device="cpu",
                      load_unquantised=load)  # fmt: skip
    torch.manual_seed(trial.seed)
    return adapt(world.base(), trial.settings, world.objective.head, start)


def layers(adapted: Adapted) -> dict[str, Any]:
    """Return the adapted layers in 4 bits by name."""
    return {
        name: module
        for name, module in adapted.model.get_base_model().named_modules()
        if hasattr(module, "lora_A") and not module.get_base_layer().weight.is_floating_point()
    }


def weight(model: PreTrainedModel, name: str) -> torch.Tensor:
    layer = model.get_submodule(name)
    value: torch.Tensor = layer.weight  # type: ignore[assignment]
    return value if isinstance(layer, nn.Linear) else value.t()


@needs.bitsandbytes
@pytest.mark.parametrize("model", sorted(MODELS))
class TestStart:
    @pytest.fixture
    def world(self, model: str, tmp_path: Path) -> World:
        build, objective = MODELS[model]
        source = without_dropout(build(tmp_path / "model"))
        return World(source, objective, tmp_path / "sweep", quantisation=Quantisation.NF4, packed=False)

    def test_product_equals_pefts(self, world: World) -> None:
        """Peft's whole function runs on CUDA only, and its product is right for alpha = rank only."""
        from orchestrator.training.model.quantised import weight_of

        original, found = load_unquantised(world.source, world.objective), layers(started(world, "loftq"))
        assert found
        for name, layer in found.items():
            residual_OI = weight(original, name) - weight_of(layer.get_base_layer().weight)
            factors = loftq_utils._low_rank_decomposition(residual_OI, RANK)
            product_OI = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            torch.testing.assert_close(product_OI, factors["L"] @ factors["R"], rtol=1e-4, atol=1e-6)

    def test_saved_adapter_loads_on_the_quantised_base(self, world: World, tmp_path: Path) -> None:
        adapted = started(world, "loftq")
        batch = world.batch(world.data.split("validation", 32))
        save_adapter(adapted, tmp_path / "adapter")
        with torch.inference_mode():
            expected = forward(adapted.model.eval(), batch)
            found = forward(with_adapter(world.base(), tmp_path / "adapter"), batch)
        assert torch.equal(found, expected)

    def test_ranks_beyond_a_side_start_as_default(self, world: World, tmp_path: Path) -> None:
        adapted = started(world, "loftq", rank=96)
        save_adapter(adapted, tmp_path / "adapter")
        saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        for name, value in saved.items():
            if "lora_A" in name and value.shape[1] == 64:
                assert (value[:64].abs() > 0).any(1).all(), name
                assert (value[64:].abs() > 0).any(1).all(), name


@needs.bitsandbytes
def test_start_is_nearer_to_the_unquantised_model(tmp_path: Path) -> None:
    build, objective = MODELS["llama"]
    world = World(build(tmp_path / "model"), objective, tmp_path / "sweep", quantisation=Quantisation.NF4, packed=False)
    batch = world.batch(world.data.split("validation", 32))
    with torch.inference_mode():
        expected = forward(load_unquantised(world.source, objective).eval(), batch)
        trained, rounded = (forward(started(world, init).model.eval(), batch) for init in ("loftq", "default"))
    assert (trained - expected).norm() < 0.9 * (rounded - expected).norm()


def test_packs_refuse_loftq() -> None:
    with pytest.raises(CannotPackError, match="init loftq reads the codes of the base"):
        require_packable(task(0, init="loftq").settings)
