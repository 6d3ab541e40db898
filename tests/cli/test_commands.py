"""Commands with one finished sweep in the ledger, and without a ledger."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from orchestrator.cli.commands.clean import folder_bytes
from orchestrator.core.errors import SweepLockedError, UserError
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.home import sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.replay.table_file import read_table
from orchestrator.search.sweeps import open_sweep
from orchestrator.stores import tracking_of
from tests.cli.conftest import ROOT, Invoke, Run
from tests.fakes.tiny_sweep import tiny_sweep
from tests.report.examples import make_sweep
from tests.spec.facts import OPTIONAL


def test_status_without_sweeps_suggests_command(invoke: Invoke, home: Path) -> None:
    assert "no sweeps yet" in invoke("status").stdout
    assert json.loads(invoke("status", "--json").stdout) == []
    assert not home.exists()


def test_status_lists_sweeps(invoke: Invoke, finished_sweep: str) -> None:
    ledger, fingerprint = Ledger.open(), {"metric": {"name": "val/loss", "direction": "minimize"}}
    killed = open_sweep(ledger, finished_sweep, fingerprint, "", fresh=True)
    ledger.sweeps.update(killed.id, status=SweepStatus.RUNNING)
    first, second = json.loads(invoke("status", "--json").stdout)
    assert (first["sweep"], first["status"], first["best"]["trial"]) == ("sentiment#1", "finished", 7)
    assert first["trials"] == {"complete": 8, "fail": 1, "pruned": 3}
    # The second sweep was killed: it is marked as running, but has no driver.
    assert (second["sweep"], second["status"], second["best"]) == ("sentiment#2", "interrupted", None)
    assert "sentiment#2" in invoke("status").stdout


def test_status_of_running_sweep_names_driver(invoke: Invoke, finished_sweep: str) -> None:
    ledger = Ledger.open()
    sweep = ledger.sweeps.find(finished_sweep)
    with ledger.drivers.hold(sweep.id):
        document = json.loads(invoke("status", "sentiment", "--json").stdout)
        assert document["status"] == "running"
        assert document["driver"].startswith("process ")
        assert "sentiment#1: running (process" in invoke("status", "sentiment").stdout
        with pytest.raises(SweepLockedError, match="is being run by process"):
            invoke("clean", "sentiment", "--sweep", "--yes")
    assert "sentiment#1: finished, 12 trials" in invoke("status", "sentiment").stdout


def test_running_sweep_is_refused_before_its_data_is_read(called: Run, finished_sweep: str) -> None:
    ledger = Ledger.open()
    with ledger.drivers.hold(ledger.sweeps.find(finished_sweep).id):
        refused = called("sweep", str(ROOT / "sweeps/sentiment.yaml"), check=2)
    assert "the sweep is being run by process" in refused.stderr
    assert "rows:" not in refused.stdout


def test_unfinished_sweep_is_not_promoted(called: Run, finished_sweep: str) -> None:
    ledger = Ledger.open()
    sweep = ledger.sweeps.find(finished_sweep)
    ledger.sweeps.update(sweep.id, status=SweepStatus.RUNNING)
    assert "sentiment#1 was interrupted: a better trial may follow" in called("promote", "sentiment", check=2).stderr
    with ledger.drivers.hold(sweep.id):
        refused = called("promote", "sentiment", "--trial", "7", "--dry-run", check=2).stderr
    assert "sentiment#1 is still running" in refused
    assert "--force --reason" in refused


def test_trials_of_killed_sweep_are_suspended(invoke: Invoke, finished_sweep: str) -> None:
    ledger = Ledger.open()
    sweep = ledger.sweeps.find(finished_sweep)
    ledger.sweeps.update(sweep.id, status=SweepStatus.RUNNING)
    left = replace(ledger.trials.all(sweep.id)[0], number=12, state=TrialState.RUNNING, reports=(), ended_at=None)
    ledger.trials.add(sweep.id, left, 12)
    for command in ("status", "report"):
        assert "1 suspended" in invoke(command, "sentiment").stdout
    with ledger.drivers.hold(sweep.id):
        for command in ("status", "report"):
            assert "1 running" in invoke(command, "sentiment").stdout


def test_report_writes_page_and_lists_files(called: Run, finished_sweep: str, home: Path) -> None:
    document = json.loads(called("report", finished_sweep, "--json").stdout)
    page = home / "sweeps" / "sentiment-1" / "report" / "index.html"
    assert document["files"][0] == str(page)
    assert page.stat().st_size > 100_000
    assert document["best"] == 7
    shares = document["importances"]["values"]
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.__getitem__) == "learning_rate"
    shown = called("report", finished_sweep, "--limit", "3").stdout
    assert "and 9 more" in shown
    assert str(page) in shown


def test_clean_deletes_only_requested_files(invoke: Invoke, finished_sweep: str, home: Path) -> None:
    folder = home / "sweeps" / "sentiment-1"
    (folder / "trials" / "0007").mkdir(parents=True)
    (folder / "trials" / "0007" / "adapter.bin").write_bytes(b"x" * 5000)
    (folder / "report.html").write_bytes(b"x" * 300)
    listed = json.loads(invoke("clean", "--json").stdout)
    assert (listed["sweeps"][0]["bytes"], listed["sweeps"][0]["checkpoints"]) == (5300, 5000)
    assert "5.3 kB" in invoke("clean").stdout

    with pytest.raises(UserError, match="--yes confirms"):
        invoke("clean", finished_sweep, "--checkpoints")
    with pytest.raises(UserError, match="a sweep name is needed"):
        invoke("clean", "--checkpoints", "--yes")
    assert folder_bytes(folder) == 5300

    assert json.loads(invoke("clean", finished_sweep, "--checkpoints", "--yes", "--json").stdout)["bytes"] == 5000
    assert folder_bytes(folder) == 300
    assert len(Ledger.open().trials.all(1)) == 12
    invoke("clean", finished_sweep, "--sweep", "--yes")
    assert not folder.exists()
    assert Ledger.open().sweeps.all() == ()


def test_clean_lists_local_store_with_unbroken_paths(
    invoke: Invoke, finished_sweep: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = home.parent / "mlflow"
    (store / "artifacts" / "1").mkdir(parents=True)
    (store / "artifacts" / "1" / "adapter").write_bytes(b"x" * 1000)
    (store / "mlflow.db").write_bytes(b"x" * 500)
    (store / "README.md").write_bytes(b"not of the store")
    monkeypatch.setenv("COLUMNS", "40")
    assert json.loads(invoke("clean", "--json").stdout)["mlflow"] == {"folder": str(store), "bytes": 1500}
    lines = [line.strip() for line in invoke("clean").stdout.splitlines()]
    assert str(home / "sweeps" / "sentiment-1") in lines
    assert str(store) in lines
    monkeypatch.chdir(home.parent)
    lines = [line.strip() for line in invoke("clean").stdout.splitlines()]
    assert {"home/sweeps/sentiment-1", "mlflow"} <= {*lines}

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert json.loads(invoke("clean", "--json").stdout)["mlflow"] is None


def test_validate_reports_on_every_file(called: Run, tmp_path: Path) -> None:
    shipped = sorted(path for path in (ROOT / "sweeps").rglob("*.yaml") if path.stem not in OPTIONAL)
    assert len(shipped) >= 4
    assert called("validate", *map(str, shipped)).stdout.count(": valid (") == len(shipped)
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: bad\n")
    done = called("validate", str(shipped[0]), str(bad), "--json", check=2)
    good, wrong = json.loads(done.stdout)
    assert (good["valid"], good["errors"]) == (True, [])
    assert wrong["valid"] is False
    assert wrong["errors"] == done.stderr.splitlines()


def test_validate_data_reads_rows(invoke: Invoke, tmp_path: Path) -> None:
    file, rows = tiny_sweep(tmp_path), tmp_path / "rows.csv"
    rows.write_text(
        rows.read_text() + " ,negative\n" + "the film was bad and number 0,negative\n" + f"{'ok ' * 40},positive\n"
    )
    shown = " ".join(invoke("validate", str(file), "--data").stdout.split())
    assert "rows train 64 · validation 32 · test 32" in shown
    assert "more rows than data.train asks for: 34" in shown
    (result,) = json.loads(invoke("validate", str(file), "--data", "--json", "--set", "data.train=null").stdout)
    assert result["rows"] == {"train": 98, "validation": 32, "test": 32}
    summary = result["data_summary"]
    assert summary["dropped"] == {"blank text": 1}
    assert (sum(summary["truncated"].values()), summary["max_length"]) == (1, 16)
    assert sum(summary["label_counts"]["train"].values()) == 98
    rows.write_bytes("text,label\ncafé,positive\n".encode("latin-1"))
    done = invoke("validate", str(file), "--data")
    assert done.exit_code == 2
    assert "rows.csv, line 2: byte 0xe9 is not UTF-8" in done.stderr


def test_validate_accepts_overrides(command: Run) -> None:
    done = command("validate", "sweeps/sentiment.yaml", "--set", "budget.trials=0", check=2)
    assert "budget.trials" in done.stderr


def test_schema_accepts_shipped_sweeps(invoke: Invoke) -> None:
    schema = json.loads(invoke("schema").stdout)
    files = sorted((ROOT / "sweeps").rglob("*.yaml"))
    for file in files:
        jsonschema.validate(YAML(typ="safe", pure=True).load(file.read_text()), schema)
    assert len(files) >= 4


def test_stored_sweep_keeps_tracking_location(home: Path) -> None:
    sweep = make_sweep(spec_text="name: x\ntracking: {uri: 'http://mlflow:5000', keep_adapters: 2}\n", generation=3)
    assert tracking_of(sweep).uri == "http://mlflow:5000"
    assert tracking_of(make_sweep(spec_text="name: x\n")).uri is None
    assert sweep_dir(sweep) == home / "sweeps" / "sentiment-3"


def test_predict_without_text_is_refused(called: Run) -> None:
    assert "no text given" in called("predict", "nothing", check=2).stderr


@pytest.mark.parametrize("written", ["20", "1.5", " 20 ", "1e3", "-5"])
def test_time_without_unit_is_refused(invoke: Invoke, written: str) -> None:
    with pytest.raises(UserError, match=r"^--time: a unit is needed, got \S+; use \S+m for minutes"):
        invoke("sweep", "sweeps/sentiment.yaml", "--time", written)


def test_validate_does_not_run_objective_file(invoke: Invoke, tmp_path: Path) -> None:
    objective = (ROOT / "docs/examples/my_objective.py").read_text().replace("minimize", "MINIMIZE")
    code = "\nPath(__file__).with_name('ran').touch()\n"
    (tmp_path / "my_objective.py").write_text(objective + code)
    sweep = (ROOT / "docs/examples/tickets.yaml").read_text().replace("./tickets.csv", "vader-movie")
    file = tmp_path / "tickets.yaml"
    file.write_text(sweep)
    assert ": valid (tickets" in invoke("validate", str(file)).stdout
    done = invoke("validate", str(file), "--set", "search.metric=val/f9", "--json")
    assert "one of val/loss, val/accuracy" in json.loads(done.stdout)[0]["errors"][0]
    (tmp_path / "my_objective.py").write_text(objective.replace("OBJECTIVE = Tickets()", "OBJECTIVE = made()") + code)
    done = invoke("validate", str(file), "--set", "search.metric=val/f9", "--json")
    (message,) = json.loads(done.stdout)
    assert message["valid"] is True
    assert "my_objective.py is not executed here; the sweep checks its metrics" in message["warnings"][0]
    assert not (tmp_path / "ran").exists()
    assert "NameError" in json.loads(invoke("validate", str(file), "--run-code", "--json").stdout)[0]["errors"][0]


def test_table_writes_trials_of_every_state(invoke: Invoke, finished_sweep: str, tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    document = json.loads(invoke("table", finished_sweep, str(file), "--json").stdout)
    assert (document["sweep"], document["trials"], document["with_test_rows"]) == ("sentiment#1", 12, 0)
    stored = Ledger.open().trials.all(1)
    table = read_table(file)
    assert [(t.number, t.state, t.reason, t.seed) for t in table.trials] == [
        (t.number, t.state, t.reason, t.seed) for t in stored
    ]
    assert document["reports"] == sum(len(t.reports) for t in stored)
    assert "tracking.record" in invoke("table", finished_sweep, str(file)).stdout
    with pytest.raises(UserError, match="No such file or directory"):
        invoke("table", finished_sweep, str(tmp_path / "nowhere" / "t.parquet"))


@pytest.mark.usefixtures("finished_sweep")
def test_explain_shows_findings_in_words_and_json(invoke: Invoke) -> None:
    text = " ".join(invoke("explain", "sentiment").stdout.split())
    assert "why it ended The search ended because 12 trials; 3 of 12 trials were stopped early." in text
    assert "against the baseline Trial 7 beats the baseline on val/accuracy: 0.8406 to 0.7810." in text
    document = json.loads(invoke("explain", "sentiment", "--json").stdout)
    assert document["sweep"] == "sentiment#1"
    assert {"rule", "sentence", "numbers", "known"} == document["findings"][0].keys()
    assert [finding["rule"] for finding in document["findings"]][:3] == ["end", "baseline", "first_guess"]
