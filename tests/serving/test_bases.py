"""Adapters over one base model share its tensors, and predict as alone."""

import json
from pathlib import Path

from orchestrator.serving.bases import BaseModels, leaves_base_unchanged
from orchestrator.serving.predictor import Predictor
from orchestrator.tracking.location import Location
from orchestrator.tracking.logged_models.adapters import CONFIG
from tests.serving.server.conftest import folders, nowhere, predictors

__all__ = ["folders", "nowhere", "predictors"]

TEXTS = ["a great film", "the plot was awful and sad"]


def storages(predictor: Predictor) -> dict[int, int]:
    """Return the size of each storage of the model's weights, by its address."""
    return {
        each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
        for each in predictor._runner.model.parameters()
    }


def test_base_is_in_memory_once(folders: dict[str, Path], nowhere: Location, predictors: dict[str, Predictor]) -> None:
    bases = BaseModels()
    loaded = {name: Predictor.load(str(folders[name]), nowhere, bases=bases) for name in ("mood", "tone", "topic")}
    together: dict[int, int] = {}
    for predictor in loaded.values():
        together |= storages(predictor)
    alone = sum(storages(predictors["mood"]).values())
    assert bases.num_bytes < sum(together.values()) < 1.1 * alone  # topic has other classes than the others
    for name, predictor in loaded.items():
        own, expected = predictor.predict(TEXTS), predictors[name].predict(TEXTS)
        assert [each.probabilities for each in own] == [each.probabilities for each in expected]


def test_adapter_that_changes_base_gets_its_own(folders: dict[str, Path], tmp_path: Path) -> None:
    config = json.loads((folders["mood"] / CONFIG).read_text())
    assert leaves_base_unchanged(folders["mood"])
    for changed in ({"init_lora_weights": "pissa"}, {"bias": "all"}, {"peft_type": "OFT"}):
        (tmp_path / CONFIG).write_text(json.dumps(config | changed))
        assert not leaves_base_unchanged(tmp_path)
