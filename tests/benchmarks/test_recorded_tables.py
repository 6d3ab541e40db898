"""The recorded tables and the program that records them."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.tables.describe import SHARES, describe, markdown
from benchmarks.tables.record import FOLDER, TASKS, configurations
from orchestrator.api import load_sweep
from orchestrator.core.trials.trial import TrialState
from orchestrator.ledger.codec import canonical
from orchestrator.replay.replay import replay
from orchestrator.replay.table_file import read_table
from orchestrator.replay.task import spec_of

TABLES = sorted(FOLDER.glob("*.parquet"))


@pytest.mark.parametrize("task", TASKS)
def test_first_configuration_is_the_default(task: str) -> None:
    spec = load_sweep(FOLDER / f"{task}.yaml")
    points = configurations(spec, 20)
    assert spec.space.contains(points[0])
    assert all(points[0][name] == value for name, value in spec.start_points[0].items())
    assert len({canonical(point) for point in points}) == 20
    assert points[:8] == configurations(spec, 8)


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_table_holds_whole_curves_and_test_rows(path: Path) -> None:
    table = read_table(path)
    spec = load_sweep(FOLDER / f"{path.stem}.yaml")
    assert table.spec_text == (FOLDER / f"{path.stem}.yaml").read_text()
    wanted = [canonical(point) for point in configurations(spec, spec.budget.trials or 0)]
    for trial in table.trials:
        assert canonical(trial.params) in wanted
        if trial.state is TrialState.COMPLETE:
            assert tuple(report.samples for report in trial.reports) == table.points
            assert trial.test_rows is not None
            assert len(trial.test_rows.losses) == spec.data.test
            right = sum(a == b for a, b in zip(trial.test_rows.predictions, trial.test_rows.references, strict=True))
            assert trial.test["accuracy"] == pytest.approx(right / len(trial.test_rows.losses))


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_description_has_every_figure(path: Path) -> None:
    table = read_table(path)
    described = describe(table)
    assert all(len(values) == len(SHARES) for values in described.correlations.values())
    assert all(-1 <= value <= 1 for values in described.correlations.values() for value in values)
    assert not math.isnan(described.default + described.best)
    assert f"| {table.name} | {table.metric.name} |" in markdown([described])


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_search_can_be_replayed_on_the_table(path: Path) -> None:
    table = read_table(path)
    result = replay(table, spec_of(table, ["search.sampler=random", "budget.trials=6"]), seed=1)
    assert len(result.records) == 6
    samples = [step.samples for step in result.trajectory]
    assert all(earlier <= later for earlier, later in pairwise(samples))
