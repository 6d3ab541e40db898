"""A base model of a hub stays at the commit with which its sweep was started."""

from pathlib import Path

import pytest

from orchestrator.preparation.defaults import MODEL_VERSION, pinned_model
from orchestrator.preparation.prepared import prepare
from orchestrator.preparation.request import request_of
from orchestrator.spec.fingerprint import differences
from orchestrator.stores import read_spec
from tests.fakes.hub_server import hub_server
from tests.fakes.tiny_models import tiny_bert
from tests.fakes.tiny_sweep import tiny_sweep


def test_resume_keeps_the_models_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_spec(tiny_sweep(tmp_path), ["model=hub:org/pinned", "resources.engine=solo"])
    said: list[str] = []
    with hub_server(tmp_path / "cache", monkeypatch) as hub:
        first = hub.push("org/pinned", tmp_path / "model")
        prepared = prepare(request_of(spec), None, said.append)
        second = hub.push("org/pinned", tiny_bert(tmp_path / "new", width=32))
        assert pinned_model(spec.model, None).revision == second
    assert f"model: hub:org/pinned, version {first}" in said
    assert prepared.engine_plan.model.revision == first
    assert prepared.adapters.base.revision == first
    assert prepared.fingerprint[MODEL_VERSION] == first
    assert prepared.fingerprint["model"]["revision"] is None
    assert pinned_model(spec.model, prepared.fingerprint) == prepared.engine_plan.model
    earlier = {key: value for key, value in prepared.fingerprint.items() if key != MODEL_VERSION}
    assert pinned_model(spec.model, earlier) == spec.model
    changed = {**prepared.fingerprint, MODEL_VERSION: second}
    assert differences(prepared.fingerprint, changed) == [f"model_version: {first} → {second}"]
