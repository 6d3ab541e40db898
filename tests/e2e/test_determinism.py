"""The same sweep run twice, one trial at a time, makes the same proposals and measures the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SMALL, SMOKE, Installation

pytestmark = pytest.mark.e2e


SWEEP = ["sweep", str(SMOKE), *SMALL, "--inline", "--trials", "2", "--set", "resources.parallel_trials=1", "--json"]


def test_same_seed_gives_same_trials_and_metrics(tmp_path: Path, empty_store: Path) -> None:
    installations = [Installation.with_store(tmp_path / name, empty_store) for name in ("first", "second")]
    sweeps = [installation.start(*SWEEP) for installation in installations]
    found: list[Any] = []
    try:
        for sweep in sweeps:
            out, err = sweep.communicate(timeout=900)
            assert sweep.returncode == 0, err
            found.append(json.loads(out)["leaderboard"])
    finally:
        for sweep in sweeps:  # one that fails leaves the other running
            sweep.kill()
    for row in (*found[0], *found[1]):
        assert row["final"].pop("time/shift_s") > 0  # a duration, which no seed decides
    assert found[0] == found[1]
