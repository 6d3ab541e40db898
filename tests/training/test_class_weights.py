"""Class weights give torch's weighted cross entropy in both engines, and change training alone."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from objectives.regression import Regression
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.objective.class_weights import class_weights, training_losses
from orchestrator.training.context import EngineContext
from orchestrator.training.engine import Engine
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.solo.engine import SoloEngine
from tests.contracts.engine_contract import learned
from tests.fakes.tiny_models import tiny_bert, without_dropout
from tests.fakes.tiny_objective import TinyClassification
from tests.training.packed.packs import World, task

WEIGHTS = '{"good": 3, "bad": 0.25}'


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> EnginePlan:
    folder = tmp_path_factory.mktemp("weights")
    model = without_dropout(tiny_bert(folder / "model"))
    world = World(model, TinyClassification(), folder / "sweep", packed=False)
    return replace(world.plan, report_points=(16, 32), rows_per_epoch=None)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_equals_torchs_weighted_cross_entropy(smoothing: float) -> None:
    objective = TinyClassification()
    logits, labels = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 1, 0, 1])
    weights = class_weights(WEIGHTS, objective, labels.tolist())
    assert weights is not None
    loss_B, units_B = training_losses(objective, logits, {"labels": labels}, smoothing, weights)
    torchs = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights), label_smoothing=smoothing)
    torch.testing.assert_close(loss_B.sum() / units_B.sum(), torchs(logits, labels))


def test_balanced_weights_follow_the_training_rows() -> None:
    assert class_weights("balanced", TinyClassification(), [0, 0, 0, 1]) == pytest.approx((4 / 6, 2.0))
    assert class_weights("none", TinyClassification(), [0, 1]) is None
    with pytest.raises(UserError, match=r"no class is called great \(classes: bad, good\)"):
        class_weights('{"great": 2}', TinyClassification(), [0])
    with pytest.raises(UserError, match="objective regression does not give each row one class"):
        class_weights("balanced", Regression(), [0])


def test_both_engines_train_with_the_weights(plan: EnginePlan, tmp_path: Path) -> None:
    def reports(name: str, build: Callable[[EngineContext], Engine], weights: str = WEIGHTS) -> list[dict[str, float]]:
        context = EngineContext(replace(plan, sweep_dir=str(tmp_path / name)), TinyClassification())
        with closing(build(context)) as engine:
            run = engine.start(task(0, batch_size=1, accumulation=4, learning_rate=1e-2, class_weights=weights))
            return [learned(run.advance(point)) for point in plan.report_points]

    solo, packed = (reports(name, build) for name, build in (("solo", SoloEngine), ("packed", MixedEngine)))
    plain = reports("plain", SoloEngine, weights="none")
    for one, other, unweighted in zip(solo, packed, plain, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
        assert one["val/loss"] != pytest.approx(unweighted["val/loss"], rel=1e-3)
