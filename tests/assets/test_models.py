"""Models by origin."""

from pathlib import Path

import huggingface_hub.constants
import pytest
from transformers import AutoConfig, AutoTokenizer

from orchestrator.assets.models import load_pretrained, resolve_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, UserError
from tests.fakes.tiny_models import tiny_bert


def test_a_folder_is_resolved_and_loaded(tmp_path: Path) -> None:
    source = Source(origin=Origin.LOCAL, name=str(tiny_bert(tmp_path / "bert")))
    assert resolve_model(source) == str(tmp_path / "bert")
    assert load_pretrained(AutoTokenizer, source)("good film")["input_ids"][0] == 2


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"has no config\.json"):
        resolve_model(Source(origin=Origin.LOCAL, name=str(tmp_path)))
    with pytest.raises(AssetError, match="absent is not a folder"):
        resolve_model(Source(origin=Origin.LOCAL, name=str(tmp_path / "absent")))


def test_a_packaged_model_is_a_folder() -> None:
    source = Source(origin=Origin.PACKAGED, name="minilm")
    assert (Path(resolve_model(source)) / "model.safetensors").is_file()
    assert load_pretrained(AutoConfig, source).num_hidden_layers == 6


def test_packaged_data_is_no_model() -> None:
    with pytest.raises(UserError, match="vader-movie is packaged data; a model is needed"):
        resolve_model(Source(origin=Origin.PACKAGED, name="vader-movie"))


def test_hub_id_and_revision_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # no requests

    class Recorder:
        @staticmethod
        def from_pretrained(name: str, **arguments: object) -> tuple[str, dict[str, object]]:
            return name, arguments

    source = Source(origin=Origin.HUB, name="org/model", revision="abc123")
    assert resolve_model(source) == "org/model"
    assert load_pretrained(Recorder, source, dtype="float32") == (
        "org/model",
        {"revision": "abc123", "dtype": "float32"},
    )


def test_offline_hub_message_has_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(AssetError, match=r"model hub:org/never-downloaded could not be loaded(.|\n)*HF_HUB_OFFLINE=1"):
        load_pretrained(AutoConfig, Source(origin=Origin.HUB, name="org/never-downloaded"))
