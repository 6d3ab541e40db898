"""The adapter runner: a prediction does not depend on the other texts of its batch."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import Origin, Source
from orchestrator.evaluation.row_independence import reset_rope_per_forward
from orchestrator.objective.protocol import Head
from orchestrator.tracking.logged_models.adapter_model import AdapterRunner, reset_long_rope
from orchestrator.training.model.adapters import adapt, save_adapter
from orchestrator.training.model.base_model import load_base
from tests.fakes.tiny_models import tiny_bart_classifier
from tests.fakes.tiny_objective import TinyClassification
from tests.families.tiny_families import tiny_family
from tests.training.packed.packs import task

ROPE = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 100.0, "original_max_position_embeddings": 6}
TEXTS = ["good", "a very good film and a very nice plot with great acting", "the plot is bad"]


@pytest.mark.parametrize(
    ("name", "changes", "alone"),
    [
        ("fnet", {}, True),
        ("llama", {"rope_parameters": ROPE, "max_position_embeddings": 6}, True),
        ("bert", {}, False),
    ],
)
def test_text_is_classified_as_if_alone(name: str, changes: dict[str, Any], alone: bool, tmp_path: Path) -> None:
    model = tiny_family(name, Head.SEQUENCE_CLASSIFICATION, tmp_path / "model", **changes)
    folder = adapter_of(model, tmp_path / "adapter")
    assert AdapterRunner(folder).one_by_one is alone
    assert_judged_as_if_alone(folder, TEXTS)


def test_text_with_end_token_is_classified(tmp_path: Path) -> None:
    folder = adapter_of(tiny_bart_classifier(tmp_path / "model"), tmp_path / "adapter")
    assert_judged_as_if_alone(folder, [*TEXTS, "a <s>bad</s> film"])


def adapter_of(model: Path, folder: Path) -> Path:
    """Save an untrained adapter with the files of the runner."""
    source, objective = Source(origin=Origin.LOCAL, name=str(model)), TinyClassification()
    torch.manual_seed(0)
    save_adapter(adapt(load_base(source, objective, "cpu"), task(0).settings, objective.head), folder)
    load_tokenizer(source).save_pretrained(folder)
    card = {"labels": objective.labels, "head": objective.head, "base": {"revision": None}, "base_path": str(model)}
    (folder / "loratory.json").write_text(json.dumps(card | {"max_length": 64}))
    return folder


def assert_judged_as_if_alone(folder: Path, texts: list[str]) -> None:
    expected = [row for text in texts for row in AdapterRunner(folder).probabilities([text])]
    assert torch.tensor(AdapterRunner(folder).probabilities(texts)).flatten().tolist() == pytest.approx(
        torch.tensor(expected).flatten().tolist(), abs=1e-5
    )


@pytest.mark.parametrize(
    "rope_type", ["default", "dynamic", "longrope", {"full": "dynamic"}, {"full": "default"}, None], ids=str
)
def test_rope_detection_equals_that_of_evaluation(rope_type: str | dict[str, str] | None) -> None:
    rotaries = [torch.nn.Module(), torch.nn.Module()]
    for rotary in rotaries:
        rotary.__dict__["rope_type"] = rope_type
    reset_rope_per_forward(rotaries[0])
    assert reset_long_rope(rotaries[1]) == bool(rotaries[0]._forward_pre_hooks)
