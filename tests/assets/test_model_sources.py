"""GGUF files, PyTorch Hub and Kaggle as base models."""

import resource
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from orchestrator.assets.marks import mark
from orchestrator.assets.models import (
    is_on_this_machine,
    load_pretrained,
    pinned,
    require_model,
    resolve_model,
    version_of,
)
from orchestrator.assets.torchhub import RECORD, torchhub_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError
from tests.assets.test_gguf import FILE, write_gguf
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.web import forget_proxies

HUBCONF = """
from pathlib import Path

dependencies = ["transformers"]
HERE = Path(__file__).parent


def encoder():
    with (HERE.parent / "ran").open("a") as file:
        file.write("ran ")
    from transformers import AutoModelForSequenceClassification
    return AutoModelForSequenceClassification.from_pretrained(HERE.parent / "bert")


def tokenizer():
    from transformers import AutoTokenizer
    return AutoTokenizer.from_pretrained(HERE.parent / "bert")


def pair():
    return encoder(), tokenizer()


def layer():
    import torch
    return torch.nn.Linear(2, 2)


def broken():
    raise RuntimeError("no weights here")
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache."""
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    return tmp_path / "cache"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a local PyTorch Hub repository."""
    tiny_bert(tmp_path / "bert")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "hubconf.py").write_text(HUBCONF)
    return tmp_path / "repository"


def test_gguf_file_is_converted_once(tmp_path: Path, cache: Path) -> None:
    write_gguf(tmp_path)
    source = Source(origin=Origin.LOCAL, name=str(tmp_path / FILE))
    require_model(source)
    assert load_pretrained(AutoModelForCausalLM, source).config.model_type == "llama"
    assert load_pretrained(AutoTokenizer, source)("abcd")["input_ids"]
    (folder,) = [path for path in cache.iterdir() if path.is_dir()]
    assert resolve_model(source) == str(folder)
    other = tmp_path / "copy.gguf"
    other.write_bytes((tmp_path / FILE).read_bytes())
    assert resolve_model(Source(origin=Origin.LOCAL, name=str(other))) == str(folder), "cached by content"


def test_full_disk_is_no_fault_of_the_model(tmp_path: Path, cache: Path) -> None:
    write_gguf(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # bytes of a file; the weights need more
    try:
        with pytest.raises(AssetError, match=r"cache cannot be written: File too large.* or set LORATORY_CACHE"):
            require_model(Source(origin=Origin.LOCAL, name=str(tmp_path / FILE)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path for path in cache.iterdir() if path.is_dir()]


@pytest.mark.parametrize("size", [3, 100, 2000, -100])
def test_incomplete_gguf_file_is_refused(tmp_path: Path, size: int) -> None:
    write_gguf(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"tiny\.gguf is (not a GGUF file|incomplete or damaged).*Download the model"):
        require_model(Source(origin=Origin.LOCAL, name=str(path)))
    with pytest.raises(AssetError, match=r"absent\.gguf cannot be read: No such file"):
        require_model(Source(origin=Origin.LOCAL, name=str(tmp_path / "absent.gguf")))


@pytest.mark.parametrize("entry", ["encoder", "pair"])
def test_torchhub_code_runs_once(repository: Path, entry: str) -> None:
    name = f"{repository}:{entry}"
    source = Source(origin=Origin.TORCHHUB, name=name)
    assert not is_on_this_machine(source)
    assert mark(source) is None
    with pytest.raises(AssetError, match="is not in the cache of this machine"):
        resolve_model(source)
    folder = torchhub_model(name)
    assert (repository.parent / "ran").read_text() == "ran "
    assert f'"repository": "{repository}"' in (folder / RECORD).read_text()
    assert torchhub_model(name) == folder
    require_model(source)
    assert load_pretrained(AutoModelForSequenceClassification, source).config.hidden_size == 16
    assert load_pretrained(AutoTokenizer, source)("good film")["input_ids"]
    assert (repository.parent / "ran").read_text() == "ran "
    assert is_on_this_machine(source)
    assert mark(source) is not None
    (repository / "hubconf.py").write_text(f"{HUBCONF}\n# changed\n")
    assert not is_on_this_machine(source), "changed code is another model"


def test_model_of_an_earlier_torchhub_version_stays_usable(repository: Path) -> None:
    name = f"{repository}:encoder"
    source = Source(origin=Origin.TORCHHUB, name=name)
    first = torchhub_model(name)
    earlier = pinned(source)
    assert version_of(earlier) is not None
    (repository / ".git").mkdir()
    (repository / ".git" / "index").write_text("written by git status")
    assert pinned(source) == earlier
    (repository / "hubconf.py").write_text(f"{HUBCONF}\n# changed\n")
    assert pinned(source) != earlier
    with pytest.raises(AssetError, match=r"version [0-9a-f]{16}, is not in the cache of this machine"):
        resolve_model(pinned(source))
    second = torchhub_model(name)
    assert resolve_model(pinned(source)) == resolve_model(source) == str(second) != str(first)
    assert resolve_model(earlier) == str(first)
    assert mark(earlier) != mark(source)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("encodr", r"hubconf\.py has no entry 'encodr'; it has encoder, tokenizer, pair, layer, broken"),
        ("layer", r"returns torch\.nn\.modules\.linear\.Linear; a transformers model is needed"),
        ("broken", r":broken raised RuntimeError: no weights here"),
    ],
)
def test_wrong_torchhub_entries_are_explained(repository: Path, entry: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        torchhub_model(f"{repository}:{entry}")
    assert not (repository.parent / "ran").exists()


def test_unreachable_torchhub_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    forget_proxies(monkeypatch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(AssetError, match=r"torchhub:owner/name:main:encoder could not be loaded: .*Check the name"):
        torchhub_model("owner/name:main:encoder")
    with pytest.raises(AssetError, match=r"has no hubconf\.py"):
        torchhub_model(f"{tmp_path}:encoder")


def test_kaggle_version_is_pinned(tmp_path: Path) -> None:
    pytest.importorskip("kagglehub")
    variation = tmp_path / "kaggle" / "models" / "google" / "bert" / "transformers" / "tiny"
    tiny_bert(variation / "2")
    (variation / "3").mkdir()
    (variation / "3" / "saved_model.pb").write_bytes(b"")
    for version in (2, 3):
        (variation / f"{version}.complete").touch()
    source = Source(origin=Origin.KAGGLE, name="google/bert/transformers/tiny/2")
    require_model(source)
    assert (pinned(source), version_of(source)) == (source, "2")
    assert load_pretrained(AutoModelForSequenceClassification, source).config.hidden_size == 16
    assert mark(source) is not None
    with pytest.raises(ModelError, match=r"is not a transformers model: .* it has saved_model\.pb"):
        require_model(Source(origin=Origin.KAGGLE, name="google/bert/transformers/tiny/3"))


def test_unreachable_kaggle_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kagglehub")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(AssetError, match=r"bert/transformers/tiny could not be loaded: Kaggle does not answer\. Check"):
        require_model(Source(origin=Origin.KAGGLE, name="google/bert/transformers/tiny"))
