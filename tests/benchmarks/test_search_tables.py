"""Tasks from tables, and their quality."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.search.peft_table import read_peft_task
from benchmarks.search.prior import RULES, family, read_grids, regrets, unlike_shipped
from benchmarks.search.quality import quality_of
from benchmarks.search.simulation import Step
from benchmarks.search.synthetic import synthetic_task
from benchmarks.search.task import Task, read_task, task_of
from orchestrator.replay.table_file import write_table
from tests.benchmarks.tasks import SPACE, curve, task


@pytest.fixture(scope="module")
def synthetic() -> Task:
    return synthetic_task(0)


def test_costs_are_negated_accuracies(synthetic: Task) -> None:
    assert synthetic.table is not None
    trial = synthetic.table.trials[0]
    replicate = synthetic.configurations[0].replicates[0]
    assert replicate.costs == tuple(-report.metrics["val/accuracy"] for report in trial.reports)
    assert replicate.test_cost == -trial.test["accuracy"]


def test_diverged_values_become_the_worst_finite_cost(synthetic: Task) -> None:
    assert synthetic.table is not None
    first, *others = synthetic.table.trials
    reports = tuple(replace(report, metrics={"val/accuracy": math.nan}) for report in first.reports)
    table = replace(synthetic.table, trials=(replace(first, reports=reports), *others))
    read = task_of(table, space=SPACE, start_points=())
    worst = max(cost for one in read.configurations for each in one.replicates for cost in each.costs)
    assert set(read.configurations[0].replicates[0].costs) == {worst}


def test_table_file_gives_the_same_task(synthetic: Task, tmp_path: Path) -> None:
    assert synthetic.table is not None
    write_table(synthetic.table, tmp_path / "table.parquet")
    read = read_task(tmp_path / "table.parquet")
    assert (read.configurations, read.space, read.start_points) == (
        synthetic.configurations,
        synthetic.space,
        synthetic.start_points,
    )


def test_table_without_test_values_is_refused(synthetic: Task) -> None:
    assert synthetic.table is not None
    table = replace(synthetic.table, trials=tuple(replace(trial, test={}) for trial in synthetic.table.trials))
    with pytest.raises(ValueError, match="no trial has a report and a test value"):
        task_of(table, space=SPACE, start_points=())


def test_few_configurations_are_not_shrunk() -> None:
    quality = quality_of(task([(curve(1, test=3), curve(1, test=5)), curve(2)]))
    assert quality.estimates.tolist() == [4, 2]
    assert quality.best_configuration == 1


def test_choice_by_validation_has_a_regret_of_its_own() -> None:
    lucky = (curve(1, test=3), curve(3, test=3))  # by chance, every second trial looks better than the best one
    quality = quality_of(task([lucky, curve(2, test=1)]))
    assert quality.choice_regret == pytest.approx((3 - 1) / 2, abs=0.1)
    assert quality_of(task([curve(2, test=3), curve(1, test=1)])).choice_regret == 0


def test_short_trial_is_charged_its_missing_improvement() -> None:
    quality = quality_of(task([(curve(5, 3, 1, test=10), curve(4, 3, 2, test=10)), curve(20)]))
    step = Step(spent=0, configuration=0, replicate=0, samples=100)
    assert quality.cost(step) == pytest.approx(10 + (4 + 2) / 2)
    assert quality.own_cost(step) == pytest.approx(10 + 4)
    assert quality.cost(replace(step, samples=300)) == pytest.approx(10)


def test_few_seeds_are_shrunk_more(synthetic: Task) -> None:
    quality = quality_of(synthetic)
    sizes = [len(one.replicates) for one in synthetic.configurations]
    weights = {size: float(quality.weights[sizes.index(size)]) for size in set(sizes)}
    assert 0 <= weights[1] < weights[5] < 1
    between = (quality.estimates - quality.means) * (quality.weights < 1)
    assert np.abs(between).max() > 0
    assert 0.002 < quality.seed_deviation < 0.012


def test_peft_table_has_one_configuration_per_run(tmp_path: Path) -> None:
    file = tmp_path / "peft.csv"
    file.write_text(
        "run,batch,step,valid_accuracy,test_accuracy\n"
        "a,4,250,0.1,\na,4,500,0.3,\na,4,500,,0.25\n"
        "b,4,250,0.2,\nb,4,500,0.4,\nb,4,500,,0.5\n"
    )
    read = read_peft_task(file)
    assert [one.params for one in read.configurations] == [{"run": "a"}, {"run": "b"}]
    assert read.configurations[0].replicates[0] == curve(-0.1, -0.3, test=-0.25, step=1000)
    assert quality_of(read).seed_deviation == pytest.approx((0.5 * 0.5 / 1319) ** 0.5)


def test_prior_rules_on_held_out_models(tmp_path: Path) -> None:
    file = tmp_path / "sweep.csv"
    models = ("meta-llama/Llama-3.1-8B", "Qwen/Qwen3.5-9B", "openai/gpt-oss-20b", "Qwen/Qwen3.5-27B")
    lines = [
        f"{model},{rate},{rank},{1 + (rate != 3e-4) * 0.1 + (rank != 64) * 0.05}"
        for model in models
        for rate in (1e-4, 3e-4)
        for rank in (16, 64)
    ]
    file.write_text("\n".join(["model,learning_rate,rank,test_nll", *lines]))
    grids = read_grids(file)
    for rule in RULES.values():
        assert set(regrets(grids, rule, family).values()) == {0.0}
    assert unlike_shipped(grids) == ["openai/gpt-oss-20b, rank 16: 0.0003", "openai/gpt-oss-20b, rank 64: 0.0003"]


def test_family_of_a_name() -> None:
    assert family("Qwen/Qwen3.5-9B-Base") == family("Qwen/Qwen3-8B") == "Qwen/Qwen"
