"""The same sweep run twice, one trial at a time, makes the same proposals and measures the same."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import SMALL, SMOKE, Installation

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def _found(installation: Installation) -> Any:
    arguments = ["sweep", str(SMOKE), *SMALL, "--inline", "--trials", "3", "--set", "resources.parallel_trials=1"]
    rows = installation.json(*arguments)["leaderboard"]
    for row in rows:
        assert row["final"].pop("time/shift_s") > 0  # a duration, which no seed decides
    return rows


def test_the_same_seed_finds_the_same_trials_and_metrics(tmp_path: Path) -> None:
    first = _found(Installation(folder=tmp_path / "first"))
    second = _found(Installation(folder=tmp_path / "second"))
    assert first == second
