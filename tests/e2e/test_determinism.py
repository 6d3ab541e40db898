"""Two inline runs of the same sweep have equal proposals and metrics."""

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
    result: list[Any] = []
    try:
        for sweep in sweeps:
            out, err = sweep.communicate(timeout=900)
            assert sweep.returncode == 0, err
            result.append(json.loads(out)["leaderboard"])
    finally:
        for sweep in sweeps:  # a failure leaves the other process running
            sweep.kill()
    for row in (*result[0], *result[1]):
        assert row["final"].pop("time/shift_s") > 0  # a duration, independent of the seed
    assert result[0] == result[1]
