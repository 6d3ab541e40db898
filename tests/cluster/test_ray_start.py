"""A local Ray that does not start in time is started again once; then the sweep is suspended with the cause."""

from pathlib import Path

import psutil
import pytest
import ray

from orchestrator.cluster.placement import Placement
from orchestrator.cluster.ray_session import ray_session
from orchestrator.core.errors import SuspendedError

PLACEMENT = Placement(trials=1, trial={"CPU": 1})
WAIT = "RAY_gcs_server_port_wait_time_s"
"""Ray's own limit for its server; 0 s is too short on every machine."""


def test_late_start_of_ray_names_cause_and_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "0")
    before = {*psutil.Process().children(recursive=True)}
    said: list[str] = []
    match = r"did not start in time, 2 times \(Timed out .*overloaded: its load is .* or run without Ray: --inline"
    with pytest.raises(SuspendedError, match=match), ray_session(tmp_path, PLACEMENT, tmp_path / "log", said.append):
        pytest.fail("Ray started")
    assert said == ["Ray did not start in time; starting it again"]
    left = {*psutil.Process().children(recursive=True)} - before
    assert not [each for each in left if each.status() != psutil.STATUS_ZOMBIE]


def test_second_start_of_ray_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT, "0")

    def wait_longer(_line: str) -> None:
        monkeypatch.delenv(WAIT)

    with ray_session(tmp_path, PLACEMENT, tmp_path / "log", wait_longer):
        assert ray.cluster_resources()["CPU"] == 1
    assert not ray.is_initialized()
