"""A password in an address is used, but never stored."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from orchestrator.core.system.secrets import redact
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.tables import sweeps, trials
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.ui.server import serve
from tests.cli.conftest import Invoke, Run
from tests.conftest import copied
from tests.fakes.tiny_sweep import tiny_sweep

PASSWORD = "pw-that-nobody-may-read"


@pytest.fixture(params=["database", pytest.param("server", marks=pytest.mark.extended)])
def store(request: pytest.FixtureRequest, empty_store: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a store with a password. SQLite and this server ignore it."""
    local = copied(empty_store, tmp_path / "mlflow")
    if request.param == "database":
        yield f"{local.tracking_uri}?password={PASSWORD}"
        return
    with serve(local, port=0) as address:
        yield address.replace("http://", f"http://ann:{PASSWORD}@")


def holding(folder: Path) -> list[str]:
    """Return the files containing the password in any encoding."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]


@pytest.mark.e2e
def test_password_is_used_but_never_stored(
    command: Run, called: Run, invoke: Invoke, store: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_sweep(tmp_path)
    file.write_text(file.read_text().replace("tracking: {", f'tracking: {{uri: "{store}", '))
    checked = invoke("validate", str(file))
    assert "tracking.uri: contains a password" in checked.stderr
    override = f"tracking.registry_uri={store}"
    first = command("sweep", str(file), "--inline", "--set", override)
    again = invoke("sweep", str(file), "--inline", "--set", override, "--json")
    assert json.loads(again.stdout)["finished"] is True
    assert json.loads(again.stdout)["synced"] is True
    failed = invoke("validate", str(file), "--set", f"tracking.uri=http://ann:{PASSWORD}@h o")
    assert failed.exit_code == 2
    shown: list[Any] = [checked, first, again, failed]
    if store.startswith("http"):
        shown += [command("promote", "tiny", "--json"), command("ui", "tiny", "--json")]
    for done in shown:
        assert PASSWORD not in done.stdout + done.stderr
    assert holding(home) == []
    assert holding(tmp_path / "mlflow") == []
    sweep = Ledger.open().sweeps.find("tiny")
    assert redact(store) in sweep.spec_text
    assert _masked_in_mlflow(tmp_path, store)

    _store_as_earlier_versions_did(sweep.id, store, home, tmp_path)
    assert len(holding(home)) >= 3
    assert len(holding(tmp_path / "mlflow")) >= 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    refused = called("clean", "tiny", "--secrets", check=2)
    for place in ("sweeps.spec_text", "trials.reason", "index.html", "errors.log", "tag note", "file sweep.yaml"):
        assert place in refused.stdout
    assert "--yes confirms" in refused.stderr
    cleaned = invoke("clean", "tiny", "--secrets", "--yes")
    assert "the secrets are masked" in cleaned.stdout
    for done in (refused, cleaned):
        assert PASSWORD not in done.stdout + done.stderr
    assert holding(home) == []
    assert [path for path in holding(tmp_path / "mlflow") if not path.endswith("-wal")] == []
    assert _masked_in_mlflow(tmp_path, store)
    document = json.loads(invoke("clean", "--secrets", "--json").stdout)
    assert document == {"secrets": [], "left": [], "masked": False}


def _client(tmp_path: Path) -> Any:
    uri = f"sqlite:///{tmp_path / 'mlflow/mlflow.db'}"
    return connect(Location(tracking_uri=uri, registry_uri=uri, artifacts=tmp_path / "mlflow/artifacts"))


def _masked_in_mlflow(tmp_path: Path, store: str) -> bool:
    """Return whether the parent run has the sweep file and its note, without the password."""
    (file,) = (tmp_path / "mlflow/artifacts").rglob("sweep.yaml")
    run = _client(tmp_path).get_run(Ledger.open().sweeps.find("tiny").run_id)
    return redact(store) in file.read_text() and PASSWORD not in f"{file.read_text()}{run.data.tags}"


def _store_as_earlier_versions_did(sweep_id: int, store: str, home: Path, tmp_path: Path) -> None:
    ledger = Ledger.open()
    sweep = ledger.sweeps.get(sweep_id)
    with ledger.database.write() as connection:
        spec_text = sweep.spec_text.replace(redact(store), store)
        connection.execute(update(sweeps).where(sweeps.c.id == sweep_id).values(spec_text=spec_text))
        connection.execute(update(trials).values(reason=f"Error: {store} is away"))
    ledger.close()
    (home / "sweeps/tiny-1/report/index.html").write_text(f"<a href='{store}'>runs</a>")
    (home / "logs").mkdir(exist_ok=True)
    (home / "logs/errors.log").write_text(f"sweep --set tracking.uri={store}\n")
    (file,) = (tmp_path / "mlflow/artifacts").rglob("sweep.yaml")
    file.write_text(spec_text)
    _client(tmp_path).set_tag(sweep.run_id, "note", f"written to {store}")
