"""Models that are downloaded from GitHub (PyTorch Hub) and from Kaggle, from servers that answer as theirs do."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

from orchestrator.assets.models import load_pretrained, pinned, require_model, resolve_model, version_of
from orchestrator.assets.torchhub import RECORD, torchhub_model
from orchestrator.core.data import Origin, Source
from orchestrator.core.errors import AssetError, ModelError
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.web import Answer, forget_proxies, web

pytest.importorskip("kagglehub")

HUBCONF = """
dependencies = ["transformers"]


def encoder():
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    print("a repository may print")
    folder = {folder!r}
    return AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
"""
KAGGLE = "google/bert/transformers/tiny"
SERVICE = "/v1/models.ModelApiService/"


@dataclass(kw_only=True, slots=True)
class GitHub:
    """A host with one repository, ``owner/name``.

    Attributes:
        files: content by path.
        asked: paths of all requests.
        cut: whether downloads end in the middle.
    """

    files: dict[str, str]
    asked: list[str] = field(default_factory=list)
    cut: bool = False

    def __call__(self, path: str, body: bytes) -> Answer:
        self.asked.append(path)
        if path == "/owner/name/tree/main/":
            return Answer(body=b"a page")
        if not path.startswith("/owner/name/zipball/") or path.endswith("/v9"):
            return Answer(status=404)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("owner-name-0a1b2c3/", "")
            for name, content in self.files.items():
                archive.writestr(f"owner-name-0a1b2c3/{name}", content)
        return Answer(body=packed.getvalue(), cut=self.cut)


@dataclass(kw_only=True, slots=True)
class Kaggle:
    """A host with one model, ``google/bert/transformers/tiny``, and its versions.

    Attributes:
        versions: folder with the files by version.
        asked: names of all requests.
        status: status of the answers to everybody.
        cut: name of a file whose download ends in the middle.
    """

    versions: dict[int, Path]
    asked: list[str] = field(default_factory=list)
    status: int = 200
    cut: str = ""

    def __call__(self, path: str, body: bytes) -> Answer:
        sent, request = json.loads(body), path.removeprefix(SERVICE)
        self.asked.append(request)
        if self.status != 200:
            return self._json({"code": self.status, "message": "Permission denied"}, self.status)
        folder = self.versions.get(sent.get("versionNumber", max(self.versions)))
        if (sent["ownerSlug"], sent["modelSlug"], sent["instanceSlug"]) != ("google", "bert", "tiny") or folder is None:
            return self._json({"code": 404, "message": "Not found"}, 404)
        if request == "GetModelInstance":
            return self._json({"versionNumber": max(self.versions)})
        if request == "ListModelInstanceVersionFiles":
            return self._json({"files": [{"name": file.name} for file in folder.iterdir()], "nextPageToken": ""})
        assert request == "DownloadModelInstanceVersion"
        return Answer(body=(folder / sent["path"]).read_bytes(), cut=sent["path"] == self.cut)

    @staticmethod
    def _json(content: object, status: int = 200) -> Answer:
        return Answer(status=status, body=json.dumps(content).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use empty caches."""
    for name in ("LORATORY_CACHE", "TORCH_HOME", "KAGGLEHUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    host = GitHub(files={"hubconf.py": HUBCONF.format(folder=str(tiny_bert(tmp_path / "bert")))})
    with web({"github.com": host}, tmp_path, monkeypatch):
        yield host


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    host = Kaggle(versions={1: tiny_bert(tmp_path / "one"), 2: tiny_bert(tmp_path / "two", width=32)})
    with web({"api.kaggle.com": host}, tmp_path, monkeypatch):
        yield host


class TestGitHub:
    @pytest.mark.parametrize(("name", "ref"), [("owner/name", "main"), ("owner/name:v1.2", "v1.2")])
    def test_code_is_downloaded_run_once_and_recorded(
        self, github: GitHub, name: str, ref: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = torchhub_model(f"{name}:encoder")
        assert github.asked[-1] == f"/owner/name/zipball/{ref}"
        assert capsys.readouterr().out == "", "the output of a command may be JSON"
        num_requests = len(github.asked)
        source = pinned(Source(origin=Origin.TORCHHUB, name=f"{name}:encoder"))
        assert resolve_model(source) == str(folder)
        assert load_pretrained(AutoModelForSequenceClassification, source).config.hidden_size == 16
        assert len(github.asked) == num_requests
        record = json.loads((folder / RECORD).read_text())
        assert (record["repository"], record["ref"], record["entry"]) == (name, ref, "encoder")
        assert len(record["code_sha256"]) == 64

    def test_record_tells_changed_code_apart(self, github: GitHub) -> None:
        records = []
        for ref in ("v1", "v2"):
            records.append(json.loads((torchhub_model(f"owner/name:{ref}:encoder") / RECORD).read_text()))
            github.files["LICENSE"] = "free"
        assert records[0]["code_sha256"] != records[1]["code_sha256"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "owner/nome:encoder",
                r"owner/nome:encoder could not be loaded: HTTP Error 404.*Check the name OWNER/NAME",
            ),
            ("owner/name:v9:encoder", r"HTTP Error 404.*Check the name OWNER/NAME\[:REF\]"),
            ("owner/name:encodr", r"has no entry 'encodr'; it has encoder"),
        ],
    )
    def test_mistyped_parts_are_named(self, github: GitHub, name: str, message: str) -> None:
        with pytest.raises((AssetError, ModelError), match=message):
            torchhub_model(name)

    def test_repository_without_hubconf_is_named(self, github: GitHub) -> None:
        github.files = {"README.md": "no code"}
        with pytest.raises(AssetError, match=r"owner_name_main has no hubconf\.py"):
            torchhub_model("owner/name:encoder")

    def test_incomplete_download_is_repeated(self, github: GitHub) -> None:
        github.cut = True
        with pytest.raises(AssetError, match=r"owner/name:encoder could not be loaded: .*Check the name.*network"):
            torchhub_model("owner/name:encoder")
        github.cut = False
        assert torchhub_model("owner/name:encoder").is_dir()

    def test_network_is_named_without_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        forget_proxies(monkeypatch)
        with pytest.raises(AssetError, match=r"owner/name:encoder could not be loaded: .*Check the name.*network"):
            torchhub_model("owner/name:encoder")


class TestKaggle:
    def test_newest_version_is_downloaded_once_and_pinned(self, kaggle: Kaggle) -> None:
        source = Source(origin=Origin.KAGGLE, name=KAGGLE)
        require_model(source)
        fixed = pinned(source)
        assert (fixed.name, version_of(fixed)) == (f"{KAGGLE}/2", "2")
        assert load_pretrained(AutoModelForSequenceClassification, fixed).config.hidden_size == 32
        downloads = kaggle.asked.count("DownloadModelInstanceVersion")
        assert downloads == len([*kaggle.versions[2].iterdir()])
        kaggle.versions[3] = kaggle.versions[1]
        assert load_pretrained(AutoModelForSequenceClassification, fixed).config.hidden_size == 32
        assert kaggle.asked.count("DownloadModelInstanceVersion") == downloads
        assert version_of(pinned(source)) == "3"

    def test_downloaded_version_works_offline(self, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
        source = pinned(Source(origin=Origin.KAGGLE, name=f"{KAGGLE}/1"))
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        assert load_pretrained(AutoModelForSequenceClassification, source).config.hidden_size == 16

    @pytest.mark.parametrize(
        ("name", "status", "message"),
        [
            (f"{KAGGLE}y", 200, r"Kaggle has no such model, variation or version\. Check the name OWNER/"),
            (f"{KAGGLE}/9", 200, r"Kaggle has no such model, variation or version\. Check the name OWNER/"),
            ("google/bert/torch/tiny", 200, r"'torch' is not.*Check the name OWNER/MODEL/FRAMEWORK/VARIATION"),
            (KAGGLE, 403, r"Kaggle refuses it\. .*/models/google/bert.*KAGGLE_API_TOKEN"),
            (KAGGLE, 401, r"Kaggle refuses it\. .*/models/google/bert.*KAGGLE_API_TOKEN"),
        ],
    )
    def test_refusals_name_the_remedy(self, kaggle: Kaggle, name: str, status: int, message: str) -> None:
        kaggle.status = status
        with pytest.raises(AssetError, match=rf"^model kaggle:{name} could not be loaded: {message}"):
            require_model(Source(origin=Origin.KAGGLE, name=name))

    def test_incomplete_download_is_repeated(self, kaggle: Kaggle) -> None:
        kaggle.cut = "model.safetensors"
        source = Source(origin=Origin.KAGGLE, name=KAGGLE)
        with pytest.raises(AssetError, match=r"could not be loaded: The download is incomplete\. Run the command"):
            require_model(source)
        kaggle.cut = ""
        require_model(source)
        assert load_pretrained(AutoModelForSequenceClassification, source).config.hidden_size == 32
