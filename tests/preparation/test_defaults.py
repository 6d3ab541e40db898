"""The values left open by a sweep file, in a new sweep and in a resumed one."""

from pathlib import Path

import pytest

from orchestrator.core.metric import Direction, Metric
from orchestrator.preparation.defaults import RUNG_METRIC, with_rung_metric
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.sweep_spec import SweepSpec
from tests.spec.facts import CLASSIFICATION, SMALL, load

DIRECTIONS = CLASSIFICATION.metrics


def read(folder: Path, *overrides: str) -> SweepSpec:
    file = folder / "small.yaml"
    file.write_text(SMALL)
    return load(file, *overrides)


def test_new_sweep_compares_the_loss(tmp_path: Path) -> None:
    spec = with_rung_metric(read(tmp_path), None, DIRECTIONS)
    assert spec.stopping.metric == RUNG_METRIC
    assert fingerprint(spec)["stopping"]["metric"] == "val/loss"


def test_written_rung_metric_has_its_direction(tmp_path: Path) -> None:
    spec = with_rung_metric(read(tmp_path, "early_stopping.metric=val/macro_f1"), None, DIRECTIONS)
    assert spec.stopping.metric == Metric(name="val/macro_f1", direction=Direction.MAXIMIZE)


@pytest.mark.parametrize("override", [(), ("early_stopping.metric=val/macro_f1",)])
def test_resumed_sweep_keeps_its_rung_metric(override: tuple[str, ...], tmp_path: Path) -> None:
    stored = fingerprint(read(tmp_path, *override))
    resumed = with_rung_metric(read(tmp_path), stored, DIRECTIONS)
    assert fingerprint(resumed) == stored
    assert (resumed.stopping.metric is None) is (not override)
