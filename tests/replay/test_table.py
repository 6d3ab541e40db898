"""Trial tables keep every value in their file; `merge` and `configurations` group trials."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.core.errors import DataError, UserError
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.space import Choices, Parameter, ParamValue, Space
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialState, TrialTask
from orchestrator.replay.replicates import Replicates
from orchestrator.replay.table import TableReport, TableTrial, TrialTable, merge
from orchestrator.replay.table_file import read_table, write_table
from orchestrator.replay.task import spec_of

ACCURACY = Metric(name="val/accuracy", direction=Direction.MAXIMIZE)


def report(samples: int, accuracy: float, **others: float) -> TableReport:
    metrics = {"val/accuracy": accuracy, "val/loss": 0.1 + 0.2} | {f"val/{name}": x for name, x in others.items()}
    return TableReport(samples=samples, metrics=metrics, seconds=samples / 7)


def trial(number: int, seed: int = 3, sweep: str = "movies#1", **params: float | str | bool | None) -> TableTrial:
    return TableTrial(
        number=number,
        sweep=sweep,
        params=params,
        settings=TrialSettings.from_params(params),
        seed=seed,
        state=TrialState.COMPLETE,
        reason="trained to the end",
        reports=(report(100, 0.5), report(200, 0.8), report(300, 0.75, f1=0.7)),
    )


def table(*trials: TableTrial) -> TrialTable:
    return TrialTable(name="movies", metric=ACCURACY, spec_text="name: movies\n", points=(100, 200), trials=trials)


def written(table: TrialTable, folder: Path) -> TrialTable:
    write_table(table, folder / "table.parquet")
    return read_table(folder / "table.parquet")


def test_table_survives_its_file(tmp_path: Path) -> None:
    rows = RowMeasures(losses=(0.5, 0.25), units=(1, 1), predictions=(1, 0), references=(1, 1))
    recorded = replace(trial(0, rank=8), final={"shift/x/loss": 2.0}, test={"accuracy": 0.5}, test_rows=rows)
    before = table(recorded, trial(1, seed=2**62, rank=16, learning_rate=1e-4))
    assert written(before, tmp_path) == before


def test_conditional_parameter_differs_from_null(tmp_path: Path) -> None:
    before = table(
        trial(0, rslora=True, lora_plus_ratio=None),
        trial(1, rslora=False),
        trial(2, rslora=False, lora_plus_ratio=4, init="pissa"),
    )
    after = written(before, tmp_path)
    assert [dict(trial.params) for trial in after.trials] == [dict(trial.params) for trial in before.trials]
    assert [type(trial.params["rslora"]) for trial in after.trials] == [bool] * 3
    assert after == before


def test_failed_trials_and_nan_survive(tmp_path: Path) -> None:
    failed = replace(trial(0), state=TrialState.FAIL, reason="out of memory", reports=())
    running = replace(trial(1), state=TrialState.RUNNING, reason=None)
    diverged = replace(trial(2), state=TrialState.FAIL, reports=(report(100, math.nan, loss2=math.inf),))
    after = written(table(failed, running, diverged), tmp_path)
    assert after.trials[:2] == (failed, running)
    metrics = after.trials[2].reports[0].metrics
    assert math.isnan(metrics["val/accuracy"])
    assert metrics["val/loss2"] == math.inf


def test_missing_metric_is_not_nan(tmp_path: Path) -> None:
    after = written(table(trial(0)), tmp_path)
    assert ["val/f1" in report.metrics for report in after.trials[0].reports] == [False, False, True]


def test_parameters_of_a_function_survive(tmp_path: Path) -> None:
    chosen: list[dict[str, ParamValue]] = [
        {"rank": "full", "width": 1, "warm": True},
        {"rank": 8, "width": 0.5, "warm": False},
        {"width": 2},
    ]
    trials = [
        replace(trial(number), params=params, settings=TrialSettings(values={**params, "depth": 2}))
        for number, params in enumerate(chosen)
    ]
    assert written(table(*trials), tmp_path) == table(*trials)
    frame = pd.read_parquet(tmp_path / "table.parquet")
    assert frame["param/rank"].dropna().unique().tolist() == ["full", "8"]
    assert frame["param/width"].unique().tolist() == [1.0, 0.5, 2.0]
    with pytest.raises(UserError, match="a replay knows the parameters of adapters only"):
        spec_of(table(*trials))


def test_empty_table_survives(tmp_path: Path) -> None:
    assert written(table(), tmp_path) == table()


def test_pandas_reads_one_row_per_report(tmp_path: Path) -> None:
    rows = RowMeasures(losses=(0.5, 0.25), units=(1, 3))
    recorded = replace(trial(4, rank=8), test={"accuracy": 0.5}, test_rows=rows)
    write_table(table(recorded), tmp_path / "t.parquet")
    frame = pd.read_parquet(tmp_path / "t.parquet")
    assert frame["samples"].tolist() == [100, 200, 300]
    assert frame["param/rank"].tolist() == [8, 8, 8]
    assert frame["test/accuracy"].tolist() == [0.5] * 3
    assert frame["test_rows/units"].dropna().map(list).to_dict() == {1: [1, 3]}  # in the row of the best report


def test_other_parquet_files_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="is not a trial table"):
        read_table(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="cannot be read as a trial table"):
        read_table(tmp_path / "b.parquet")


def test_configurations_group_seeds() -> None:
    groups = table(trial(0, rank=8), trial(1, rank=16), trial(2, seed=9, rank=8)).configurations()
    assert [[trial.number for trial in group] for group in groups] == [[0, 2], [1]]


def test_merge_takes_the_later_export() -> None:
    partial = replace(trial(0), reports=trial(0).reports[:1], state=TrialState.RUNNING)
    merged = merge([table(partial, trial(1)), table(trial(0)), table(trial(0, sweep="movies#2"))])
    assert [(trial.sweep, trial.number, len(trial.reports)) for trial in merged.trials] == [
        ("movies#1", 0, 3),
        ("movies#1", 1, 3),
        ("movies#2", 0, 3),
    ]


def test_merge_refuses_tables_that_differ() -> None:
    with pytest.raises(UserError, match="report points"):
        merge([table(), replace(table(), points=(50, 100))])
    with pytest.raises(UserError, match="another seed in a second table"):
        merge([table(trial(0)), table(trial(0, seed=4))])
    other = replace(trial(1), settings=replace(trial(1).settings, weight_decay=0.5))
    with pytest.raises(UserError, match="differ in weight_decay, which no trial searched"):
        merge([table(trial(0)), table(other)])
    fixed = replace(trial(1), settings=replace(trial(1).settings, options={"bias": "all"}))
    with pytest.raises(UserError, match=r"differ in options\.bias, which no trial searched"):
        merge([table(trial(0)), table(fixed)])


def test_searched_options_are_replayed() -> None:
    recorded = [trial(0), *(trial(at, seed, **{"options.bias": "all"}) for at, seed in ((1, 3), (2, 9)))]
    merged = merge([table(recorded[0]), table(*recorded[1:])])
    option = Parameter(name="options.bias", distribution=Choices(choices=(None, "all")))
    replicates = Replicates(merged, Space(parameters=(option,)), {"options.rank_pattern": None})
    assert replicates.candidates == ({"options.bias": None}, {"options.bias": "all"})
    task = TrialTask(number=7, settings=recorded[1].settings, seed=9)
    assert replicates.of(task).number == 2
