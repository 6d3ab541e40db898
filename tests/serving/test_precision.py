"""Base weights in bfloat16: half the memory, nearly the same answers; adapter and head stay in float32."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import Quantisation, loading_arguments
from orchestrator.core.sweeps.plan import Precision
from orchestrator.objective.protocol import Head
from orchestrator.promotion.export.merge import export_merged
from orchestrator.serving.bases import BaseModels
from orchestrator.serving.predictor import Predictor
from orchestrator.tracking.location import Location
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.runners import require_format
from orchestrator.tracking.logged_models.staging import stage_adapter
from orchestrator.training.model.adapters import WEIGHTS
from tests.cli.conftest import Invoke, invoke
from tests.fakes.tiny_models import tiny_bert
from tests.families.tiny_families import tiny_family
from tests.serving.server.conftest import nowhere
from tests.tracking.trained import LABELS, TEXTS, classifier_adapter

__all__ = ["invoke", "nowhere"]


def staged(base: Path, folder: Path) -> Path:
    """Return an exported folder with a classifier over a base model."""
    classifier_adapter(base, folder / "raw", seed=1)
    return stage_adapter(folder / "raw", card_of(base), folder / "staged")


def card_of(base: Path) -> AdapterCard:
    return AdapterCard(
        base=Source(origin=Origin.LOCAL, name=str(base)),
        base_path=str(base),
        head="sequence_classification",
        labels=LABELS,
        max_length=64,
        objective="sentiment",
        sweep="films#1",
        sweep_key="0" * 16,
        trial=0,
        samples=8,
        measured_at=0.0,
    )


def base_bytes(predictor: Predictor) -> dict[int, int]:
    """Return the bytes of each weight of the backbone by its address."""
    return {
        each.data_ptr(): each.nbytes
        for name, each in predictor._runner.model.named_parameters()
        if "lora_" not in name and "classifier" not in name
    }


def test_bfloat16_takes_half_the_memory(tmp_path: Path, nowhere: Location) -> None:
    base = tiny_bert(tmp_path / "base", width=64)
    folder = staged(base, tmp_path)
    AutoModelForSequenceClassification.from_pretrained(base).to(torch.bfloat16).save_pretrained(base)
    bases = BaseModels()
    full, half, again = (
        Predictor.load(str(folder), nowhere, bases=bases, precision=precision)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16, Precision.FLOAT32)
    )
    assert sum(base_bytes(full).values()) == 2 * sum(base_bytes(half).values())
    assert base_bytes(full) == base_bytes(again)
    assert not base_bytes(full).keys() & base_bytes(half).keys()
    weights = half._runner.model.state_dict()
    for name, tensor in load_file(folder / WEIGHTS).items():
        part = ".modules_to_save.default" if "classifier" in name else ".default"
        owner, _, kind = name.rpartition(".")
        torch.testing.assert_close(weights[f"{owner}{part}.{kind}"], tensor, rtol=0, atol=0)

    exact, rounded, same = ([item.probabilities for item in each.predict(TEXTS)] for each in (full, half, again))
    assert exact == same != rounded
    for row, other in zip(exact, rounded, strict=True):
        assert row == pytest.approx(other, abs=0.02)
    alone = Predictor.load(str(folder), nowhere, precision=Precision.BFLOAT16).predict(TEXTS)
    assert [item.probabilities for item in alone] == rounded
    assert not half._runner.one_by_one  # rounding is not taken for the influence of other rows


def test_models_with_own_format_are_refused(tmp_path: Path, invoke: Invoke) -> None:
    folder = staged(tiny_bert(tmp_path / "base"), tmp_path)
    card = folder / "loratory.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "quantisation": loading_arguments(Quantisation.NF4)}))
    message = r"--precision bfloat16: .*staged has a base model in 4 bits, a format of its own; leave out --precision"
    for command in (("predict", str(folder), "a text"), ("serve", str(folder), "--port", "0")):
        with pytest.raises(UserError, match=message):
            invoke(*command, "--precision", "bfloat16")
    function = AdapterCard.from_json({**card_of(tmp_path).to_json(), "head": "function"})
    with pytest.raises(UserError, match=r"films/1 was trained by a function, .*; leave out --precision"):
        require_format(function, Precision.BFLOAT16, "films/1")


def test_model_without_operations_in_bfloat16_is_refused(tmp_path: Path, nowhere: Location) -> None:
    base = tiny_family("fnet", Head.SEQUENCE_CLASSIFICATION, tmp_path / "base")
    folder = staged(base, tmp_path)
    message = r"--precision bfloat16: torch cannot compute this model in it \(.*BFloat16\); leave out --precision"
    with pytest.raises(UserError, match=message):
        Predictor.load(str(folder), nowhere, precision=Precision.BFLOAT16)
    with pytest.raises(UserError, match=message):
        export_merged(folder, card_of(base), tmp_path / "merged", precision=Precision.BFLOAT16)
    assert not (tmp_path / "merged").exists()
