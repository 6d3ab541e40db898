"""Permanently refused items are given up at once; the others are written without delay."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from orchestrator.core.trials.trial import TrialState
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.refusals import is_refusal
from orchestrator.tracking.runs.reconciler import Reconciler
from orchestrator.tracking.runs.synchroniser import Synchroniser
from tests.tracking.records import StoredSweep, description, sweep, trial


@contextmanager
def answering(status: int, body: str) -> Iterator[tuple[Location, list[str]]]:
    """Run a server with one answer for every request; yield its location and the requested paths."""
    requests_seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            requests_seen.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield Location(tracking_uri=address, registry_uri=address, artifacts=None), requests_seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, '{"error_code": "PERMISSION_DENIED", "message": "ada may not write"}', "PERMISSION_DENIED: ada may not"),
        (401, "who are you?", "failed with error code 401"),
        (413, "too large", "failed with error code 413"),
    ],
)
def test_refusing_server_ends_the_wait(status: int, body: str, message: str) -> None:
    warnings: list[str] = []
    with answering(status, body) as (location, requests_seen):
        store = StoredSweep(sweep(), trial(0, (0.5,)))
        reconciler = Reconciler(Synchroniser(store.ledger, store.id, description(), location), warnings.append, gap_s=0)
        reconciler.start()
        assert not reconciler.flush(600)  # a wait would run into the test's time limit
        assert not reconciler.flush(600)
        assert 0 < len(requests_seen) <= 4  # two attempts, and none for the second flush
        reconciler.close(1)
    assert len(warnings) == 1
    assert warnings[0].startswith("tracking: MLflow refuses films#1: ")
    assert message in warnings[0]


def test_busy_server_is_retried() -> None:
    warnings: list[str] = []
    with answering(503, "come back later") as (location, _):
        store = StoredSweep(sweep(), trial(0, (0.5,)))
        reconciler = Reconciler(
            Synchroniser(store.ledger, store.id, description(), location), warnings.append, longest_wait_s=0.05
        )
        reconciler.start()
        assert not reconciler.flush(2)
        reconciler.close(1)
    assert len(warnings) == 1
    assert warnings[0].startswith("tracking is behind; the sweep continues: ")


def test_one_refused_run_leaves_the_others_tracked(local_store: Location) -> None:
    ended = trial(1, (0.6,), TrialState.COMPLETE)
    store = StoredSweep(sweep(), trial(0, (0.5,)))
    Synchroniser(store.ledger, store.id, description(), local_store).run()
    store.forget_cursors(0)
    store.put(ended)
    # MLflow cannot change a parameter: it refuses another value at every attempt.
    refused = Synchroniser(store.ledger, store.id, description(fixed={"alpha": 64.0}), local_store)
    refusals = refused.run()
    assert len(refusals) == 1
    assert refusals[0].startswith("trial-000: ")
    assert "alpha" in refusals[0]
    store.put(trial(2, (0.7,)))
    assert refused.run() == refusals
    runs = connect(local_store).search_runs([store.experiment_id])
    assert {run.info.run_name for run in runs} == {"films#1", "trial-000", "trial-001", "trial-002"}
    assert {run.info.run_name: run.info.status for run in runs}["trial-001"] == "FINISHED"
    assert Synchroniser(store.ledger, store.id, description(), local_store).run() == ()  # another driver retries it


def test_run_deleted_during_a_pass_is_rewritten(local_store: Location) -> None:
    store = StoredSweep(sweep(), trial(0, (0.5,)))
    synchroniser = Synchroniser(store.ledger, store.id, description(), local_store)
    synchroniser.run()
    deleted = store.run_of(0)
    connect(local_store).delete_run(deleted)
    store.put(trial(0, (0.5, 0.6), TrialState.COMPLETE))
    assert synchroniser.run() == ()
    assert store.run_of(0) != deleted


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    location = Location(tracking_uri=uri, registry_uri=uri, artifacts=tmp_path / "file" / "artifacts")
    store = StoredSweep(sweep())
    refusals = Synchroniser(store.ledger, store.id, description(), location).run()
    assert len(refusals) == 1
    assert "Not a directory" in refusals[0]


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("RESOURCE_DOES_NOT_EXIST", "no such run", True),
        ("INVALID_STATE", "deleted", True),
        ("RESOURCE_ALREADY_EXISTS", "another process made it", False),  # the next attempt finds it
        ("REQUEST_LIMIT_EXCEEDED", "slow down", False),
        ("INTERNAL_ERROR", "nobody answers", False),
        ("TEMPORARILY_UNAVAILABLE", "database is locked", False),
        ("TEMPORARILY_UNAVAILABLE", "attempt to write a readonly database", True),
    ],
)
def test_mlflow_refusals_differ_from_faults(code: str, message: str, expected: bool) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    assert is_refusal(MlflowException(message, ErrorCode.Value(code))) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TypeError("float() argument must be a string or a real number, not 'NoneType'"), True),
        (PermissionError(13, "Permission denied"), True),
        (OSError(28, "No space left on device"), False),
        (requests.ConnectionError("nobody answers"), False),
        (requests.exceptions.JSONDecodeError("no JSON", "", 0), False),
    ],
)
def test_other_refusals_differ_from_faults(error: Exception, expected: bool) -> None:
    assert is_refusal(error) is expected


def test_invalid_mlflow_names_are_cleaned(local_store: Location) -> None:
    store = StoredSweep(sweep(), trial(0, (0.5,), TrialState.COMPLETE))
    store.ledger.sweeps.update(store.id, facts={"baseline": {"val/hit@1": 0.25, "val/a//b": 0.5}})
    assert Synchroniser(store.ledger, store.id, description(), local_store).run() == ()
    metrics = connect(local_store).get_run(store.run_id).data.metrics
    assert metrics["baseline_val_hit_1"] == 0.25
    assert metrics["baseline_val_a__b"] == 0.5
