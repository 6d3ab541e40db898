"""Models and data sets of a hub that answers: commits, configurations, refusals, broken downloads."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
from transformers import AutoConfig, AutoModelForSequenceClassification

from orchestrator.assets.data import read_table
from orchestrator.assets.models import is_on_this_machine, load_pretrained, pinned, require_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, DataError
from tests.fakes.hub_server import HubServer, hub_server
from tests.fakes.tiny_models import tiny_bert

CARD = """---
configs:
- config_name: en
  data_files: [{split: train, path: en/train.csv}, {split: test, path: en/test.csv}]
- config_name: ja
  data_files: [{split: train, path: ja/*.csv}]
---
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_server(tmp_path / "cache", monkeypatch) as server:
        yield server


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Source:
    """Return a model of its own for each test: huggingface_hub remembers the commits of a name in the process."""
    return Source(origin=Origin.HUB, name=f"org/{request.node.name}"[:60])


def rows(config: str | None = None, split: str | None = None, revision: str | None = None) -> Source:
    return Source(origin=Origin.HUB, name="org/rows", config=config, split=split, revision=revision)


def push_rows(hub: HubServer, folder: Path, text: str = "good") -> str:
    for name in ("en/train", "en/test", "ja/train"):
        (folder / f"{name}.csv").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").write_text(f"text,label\n{text} {name},1\n")
    (folder / "README.md").write_text(CARD)
    return hub.push("datasets/org/rows", folder)


def test_pinned_model_keeps_its_commit(hub: HubServer, model: Source, tmp_path: Path) -> None:
    first = hub.push(model.name, tiny_bert(tmp_path / "a"))
    assert not is_on_this_machine(model)
    fixed = pinned(model)
    assert fixed.revision == first
    second = hub.push(model.name, tiny_bert(tmp_path / "b", width=32))
    assert pinned(model).revision == second
    loaded = load_pretrained(AutoModelForSequenceClassification, fixed)
    assert loaded.config.hidden_size == 16
    assert pinned(fixed) == fixed
    assert load_pretrained(AutoConfig, model).hidden_size == 32


def test_downloaded_model_works_without_the_hub(
    hub: HubServer, model: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.push(model.name, tiny_bert(tmp_path / "a"))
    load_pretrained(AutoModelForSequenceClassification, model)
    hub.stop()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert pinned(model).revision == commit
    assert load_pretrained(AutoModelForSequenceClassification, model).config.hidden_size == 16


def test_refusals_name_the_remedy(hub: HubServer, model: Source, tmp_path: Path) -> None:
    def refusal(source: Source) -> str:
        with pytest.raises(AssetError, match=r"^model hub:org/\w+ could not be loaded from the hub: ") as refused:
            require_model(source)
        return str(refused.value)

    hub.push(model.name, tiny_bert(tmp_path / "a"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("no model")
    hub.push("org/empty", tmp_path / "empty")
    assert "it does not exist, or it is private" in refusal(Source(origin=Origin.HUB, name="org/absent"))
    assert "no such revision" in refusal(Source(origin=Origin.HUB, name=model.name, revision="v9"))
    assert "it has no config.json" in refusal(Source(origin=Origin.HUB, name="org/empty"))
    hub.gated.add("org/empty")
    assert "it is gated. Accept its conditions" in refusal(Source(origin=Origin.HUB, name="org/empty"))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_incomplete_download_is_an_error(hub: HubServer, model: Source, tmp_path: Path, file: str) -> None:
    model = replace(model, name=model.name.partition("[")[0] + file[:5])
    hub.push(model.name, tiny_bert(tmp_path / "a"))
    hub.cut.add(file)
    with pytest.raises(AssetError, match=r"could not be loaded from the hub: the connection ended .* Run the command"):
        require_model(model) if file == "config.json" else load_pretrained(AutoModelForSequenceClassification, model)
    hub.cut.clear()
    assert load_pretrained(AutoModelForSequenceClassification, model).config.hidden_size == 16


def test_configuration_split_and_revision_are_read(hub: HubServer, tmp_path: Path) -> None:
    first = push_rows(hub, tmp_path / "rows")
    assert read_table(rows("en"))["text"][:] == ["good en/train"]
    assert read_table(rows("en", "test"))["text"][:] == ["good en/test"]
    push_rows(hub, tmp_path / "rows", "new")
    assert read_table(rows("ja"))["text"][:] == ["new ja/train"]
    assert read_table(rows("ja", revision=first))["text"][:] == ["good ja/train"]


def test_mistyped_data_names_the_known_parts(hub: HubServer, tmp_path: Path) -> None:
    push_rows(hub, tmp_path / "rows")
    with pytest.raises(DataError, match=r"Config name is missing(.|\n)*'en', 'ja'"):
        read_table(rows())
    with pytest.raises(DataError, match=r"'fr' not found\. Available: \['en', 'ja'\]"):
        read_table(rows("fr"))
    with pytest.raises(DataError, match=r"Unknown split \"dev\". Should be one of \['train', 'test'\]"):
        read_table(rows("en", "dev"))
    with pytest.raises(AssetError, match=r"hub:org/nowhere could not be loaded from the hub"):
        read_table(Source(origin=Origin.HUB, name="org/nowhere"))
    hub.push("datasets/org/secret", tmp_path / "rows")
    hub.gated.add("datasets/org/secret")
    with pytest.raises(AssetError, match=r"org/secret could not be loaded from the hub: .*gated"):
        read_table(Source(origin=Origin.HUB, name="org/secret", config="en"))
