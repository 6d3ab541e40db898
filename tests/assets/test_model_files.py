"""Incomplete base models are refused in one sentence, before loading."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestrator.assets.models import require_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError
from tests.fakes.tiny_models import tiny_bert

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 90868376\n"
INDEX = "model.safetensors.index.json"


def require(folder: Path) -> None:
    require_model(Source(origin=Origin.LOCAL, name=str(folder)))


def keep(name: str, share: float) -> Callable[[Path], object]:
    """Truncate a file to a share of its bytes."""
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: int(share * (folder / name).stat().st_size)]
    )


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def shards(folder: Path, *names: str) -> None:
    """Write an index of these weight files; only the first one exists."""
    (folder / "model.safetensors").rename(folder / names[0])
    places = {f"tensor.{number}": name for number, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"weight_map": places}))


def index_of_nothing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text("{}")


def as_torch_file(folder: Path, *, zipped: bool) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"w": torch.zeros(300)}, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)


def cut_torch_file(folder: Path) -> None:
    as_torch_file(folder, zipped=True)
    keep("pytorch_model.bin", 0.7)(folder)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut weights": (
        keep("model.safetensors", 0.9),
        r"model\.safetensors has [\d,]+ bytes, its header states [\d,]+\. Download the model again",
    ),
    "cut in the header": (
        keep("model.safetensors", 0.01),
        r"is truncated or not a safetensors file \(",
    ),
    "no bytes": (
        keep("model.safetensors", 0),
        r"is truncated or not a safetensors file \(0 bytes\)",
    ),
    "a web page": (write("model.safetensors", "<html>Not found</html>" * 99), "is truncated or not a safetensors file"),
    "pointer to weights": (write("model.safetensors", POINTER), "is a Git LFS pointer.*Run `git lfs pull` in "),
    "pointer to the tokenizer": (write("tokenizer.json", POINTER), r"tokenizer\.json is a Git LFS pointer"),
    "pointer to a vocabulary": (write("spiece.model", POINTER), r"spiece\.model is a Git LFS pointer"),
    "a shard is missing": (
        lambda folder: shards(folder, "model-1-of-2.safetensors", "model-2-of-2.safetensors"),
        "lacks 1 of the 2 weight files of model.safetensors.index.json: model-2-of-2.safetensors",
    ),
    "an index of nothing": (index_of_nothing, "names no weight files"),
    "half downloaded": (
        lambda folder: (folder / "model.safetensors").rename(folder / "model.safetensors.incomplete"),
        r"has no weights \(model.safetensors.incomplete is an interrupted download\);.*Download the model again",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "has no weights; model.safetensors or"),
    "a cut torch file": (cut_torch_file, r"pytorch_model\.bin is truncated or not a weight file"),
    "configuration cut": (keep("config.json", 0.5), r"config\.json is not valid JSON: .*Download the model again"),
    "configuration is a list": (write("config.json", "[]"), r"config\.json: a JSON object is needed, got list"),
    "tokenizer cut": (keep("tokenizer.json", 0.5), r"tokenizer\.json is not valid JSON"),
    "an adapter beside it": (
        write("adapter_config.json", "{}"),
        r"contains adapter_config\.json beside the model: transformers would also load this adapter",
    ),
}


@pytest.mark.parametrize("name", sorted(DAMAGE))
def test_damaged_model_folder_is_refused(name: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[name]
    folder = tiny_bert(tmp_path)
    require(folder)
    damage(folder)
    with pytest.raises(ModelError, match=message) as caught:
        require(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_torch_file_is_accepted(zipped: bool, tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    as_torch_file(folder, zipped=zipped)
    require(folder)


def test_whole_shards_are_accepted(tmp_path: Path) -> None:
    folder = tiny_bert(tmp_path)
    shards(folder, "model-1-of-1.safetensors")
    require(folder)


def test_adapter_folder_names_its_base_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    with pytest.raises(ModelError, match=r"contains an adapter and no base model\. Set model: org/base"):
        require(tmp_path)
    with pytest.raises(AssetError, match="is not a folder"):
        require(tmp_path / "absent")
