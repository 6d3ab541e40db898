"""An exported adapter has the logits of training in plain peft and transformers."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from orchestrator.core.errors import ModelError, UserError
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote
from orchestrator.tracking.registered.registry import ModelReference, Registry
from tests.plain_peft import PlainPeft
from tests.promotion.conftest import Tracked
from tests.tracking.records import ACCURACY
from tests.tracking.trained import LABELS, TEXTS


def test_registered_adapter_is_plain_peft(tracked: Tracked, plain_peft: PlainPeft) -> None:
    candidate = tracked.candidates().choose()
    promote(tracked.trained.store.record, candidate, tracked.location, PromotionRequest(name="films", metric=ACCURACY))
    registry = Registry(tracked.location)
    folder = registry.download(registry.get(ModelReference.parse("films@champion")))
    logits = plain_peft.classify(folder, tracked.trained.adapters.base_path, TEXTS, len(LABELS))
    for row, expected in zip(logits, tracked.trained.logits[2], strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


def test_export_is_complete_with_readme(tracked: Tracked, tmp_path: Path) -> None:
    folder = export_adapter(tracked.candidates().choose(0), tmp_path / "films")
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer_config.json", "tokenizer.json"} <= names
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tracked.trained.adapters.base_path
    readme = (folder / "README.md").read_text()
    assert "Trial 0 of the sweep films#1" in readme
    assert "| best_val_accuracy | 0.8000 |" in readme
    code = readme.partition("```python\n")[2].partition("```")[0].replace("THIS FOLDER", str(folder))
    scope: dict[str, object] = {}
    exec(code, scope)  # noqa: S102  (example of the README)
    assert type(scope["model"]).__name__ == "PeftModelForSequenceClassification"


def test_nonempty_folder_is_refused(tracked: Tracked, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="an export needs a new or an empty folder"):
        export_adapter(tracked.candidates().choose(), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert (export_adapter(tracked.candidates().choose(), tmp_path / "empty") / "README.md").is_file()


def test_unloadable_adapter_leaves_no_export(tracked: Tracked, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    candidate = tracked.candidates().choose()
    adapter = tmp_path / "adapter"
    shutil.copytree(candidate.adapter, adapter)
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    for changed, message in (
        (
            {name: value for name, value in tensors.items() if "layer.0.attention.self" not in name},
            "without 6 of its t",
        ),
        ({name: value[:1] for name, value in tensors.items()}, "plain peft cannot load the adapter"),
    ):
        save_file(changed, file)
        with pytest.raises(ModelError, match=message):
            export_adapter(dataclasses.replace(candidate, adapter=adapter), tmp_path / "films")
        assert not (tmp_path / "films").exists()
