"""The MLflow server: it answers, ends with its parent, and its absence loses nothing."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import psutil
import pytest

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.core.trials.trial import TrialState
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.tracking.runs.synchroniser import Synchroniser
from orchestrator.tracking.ui.server import choose_port, serve
from orchestrator.tracking.ui.ui_page import ASSISTANT, MODE, TELEMETRY
from tests.tracking.records import StoredSweep, description, sweep, trial

ROOT = Path(__file__).parents[2]


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5):  # noqa: S310
            return True
    except (URLError, OSError):
        return False


def test_returning_server_gets_missed_records(local_store: Location) -> None:
    port = choose_port("127.0.0.1", 0)
    address = f"http://127.0.0.1:{port}"
    away = Location(tracking_uri=address, registry_uri=address, artifacts=None)
    store = StoredSweep(sweep(), trial(0, (0.5,)))
    warnings: list[str] = []
    reconciler = Reconciler(
        Synchroniser(store.ledger, store.id, description(), away), warnings.append, longest_wait_s=1
    )
    reconciler.start()
    assert not reconciler.flush(3)
    store.put(trial(0, (0.5, 0.6, 0.7), TrialState.COMPLETE), trial(1, (0.4,), TrialState.PRUNED))
    reconciler.wake()
    # A database's address may hold a password. SQLite accepts one, and it must not appear in a command line.
    uri = f"{local_store.tracking_uri}?password=pw-1"
    with serve(replace(local_store, tracking_uri=uri, registry_uri=uri), port=port):
        commands = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
        assert any("mlflow" in command for command in commands)
        assert not any("pw-1" in command for command in commands)
        assert reconciler.close(60)
        client = connect(away)
        runs = client.search_runs([store.experiment_id])
        assert sorted(run.info.run_name for run in runs) == ["films#1", "trial-000", "trial-001 (pruned)"]
        history = client.get_metric_history(store.run_of(0), "val/accuracy")
        assert [point.value for point in history] == [0.5, 0.6, 0.7]
    assert len(warnings) == 1
    assert warnings[0].startswith("tracking is behind; the sweep continues: MlflowException")
    assert not answers(address)


def test_pages_send_nothing_and_show_the_charts(served_store: Location) -> None:
    def get(path: str) -> str:
        with urllib.request.urlopen(f"{served_store.tracking_uri}{path}", timeout=20) as answer:  # noqa: S310
            return str(answer.read().decode())

    config = json.loads(get("/ajax-api/3.0/mlflow/ui-telemetry"))
    assert config["disable_ui_telemetry"] is True
    page = get("/")
    code = "".join(get(f"/static-files/{name}") for name in re.findall(r'src="static-files/([^"]+)"', page))
    assert "`${e}_v${t}`" in code
    # The values come before MLflow's code, under the keys read by this code.
    for name, value in ((TELEMETRY, '"false"'), (ASSISTANT, '"true"'), (MODE, r'"\"machine_learning\""')):
        assert page.index(f'"{name}": {value}') < page.index("<script defer")
        key, _, version = name.rpartition("_v")
        assert f'"{key}"' in code
        assert version == "1"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_server_ends_with_its_parent(empty_store: Path, tmp_path: Path, sign: signal.Signals) -> None:
    shutil.copy2(empty_store, tmp_path / "mlflow.db")
    script = (
        "import signal, time, pathlib\n"
        "from orchestrator.tracking.ui.server import serve\n"
        "from tests.conftest import local\n"
        # A shell in the background makes its children ignore interrupts.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with serve(local(pathlib.Path({str(tmp_path)!r})), port=0) as address:\n"
        "    print(address, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        address = parent.stdout.readline().strip()
        assert answers(address)
        # With MLflow's job execution there would be ten.
        assert len(psutil.Process(parent.pid).children(recursive=True)) == 2
        parent.send_signal(sign)
        parent.wait(30)
    deadline = time.monotonic() + 10
    while answers(address) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(address)


def test_dead_server_is_reported_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    uri = f"sqlite:///{tmp_path}/file/mlflow.db"
    broken = Location(tracking_uri=uri, registry_uri=uri, artifacts=None)
    log = tmp_path / "server.log"
    with (
        pytest.raises(TrackingError, match=r"mlflow server ended with code 1; see .*server\.log"),
        serve(broken, log=log),
    ):
        pass
    assert "Error initializing backend store" in log.read_text()


def test_a_taken_port_is_named(local_store: Location) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is taken"), serve(local_store, port=port):
            pass


def test_server_store_is_used_unchanged() -> None:
    team = Location(tracking_uri="http://team:5000", registry_uri="http://team:5000", artifacts=None)
    with serve(team) as address:
        assert address == "http://team:5000"
