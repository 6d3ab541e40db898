"""Which of a sweep's best trials is best, by another fact than the searched metric?

    python -m benchmarks.search.preference benchmarks/tables/*.parquet [--trials 12] [--kept 3]

Draws sweeps from recorded tables: the default and random configurations, each trained to its end. The ``kept`` best by
the searched validation metric are candidates, as the adapters that a sweep keeps. Prints the mean regret of the
candidate which each preference of ``search.prefer`` takes, and of the first by validation: how much worse its
configuration is than the best one of the table, on the test rows, as a mean over seeds.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Annotated, TypeAlias

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.search.quality import quality_of
from benchmarks.search.task import read_task
from orchestrator.core.metric import Direction, Metric
from orchestrator.core.sweeps.policy import Preferred
from orchestrator.replay.table import TableReport, TableTrial
from orchestrator.replay.table_file import read_table

Fact: TypeAlias = Callable[[TableTrial, Metric], float]
"""A value of a trial; the lowest one is preferred."""


VALIDATION_LOSS = Metric(name="val/loss", direction=Direction.MINIMIZE)


def _best(trial: TableTrial, metric: Metric) -> TableReport:
    best = trial.best(metric)
    assert best is not None, "the trial has a value of the metric"
    return best


FACTS: dict[str, Fact] = {
    "first by validation": lambda trial, metric: float(metric.sort_key(trial.score(metric))),
    f"{Preferred.RANK}": lambda trial, _metric: trial.settings.rank,
    f"{Preferred.GAP}": lambda trial, metric: _best(trial, metric).metrics["gap/loss"],
    f"{Preferred.LOSS}": lambda trial, _metric: _best(trial, VALIDATION_LOSS).metrics["val/loss"],
    "loss at the best checkpoint": lambda trial, metric: _best(trial, metric).metrics["val/loss"],
    f"{Preferred.SAMPLES}": lambda trial, metric: _best(trial, metric).samples,
}


def regrets(path: Path, trials: int, kept: int, sweeps: int) -> dict[str, float]:
    """Return the mean regret of each fact's choice in drawn sweeps of one table."""
    table, task = read_table(path), read_task(path)
    quality = quality_of(task)
    recorded = {(trial.sweep, trial.number): trial for trial in table.trials}
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in FACTS}
    for _ in range(sweeps):
        others = 1 + rng.permutation(len(task.configurations) - 1)[: trials - 1]
        drawn = []
        for place in (0, *others.tolist()):
            replicates = task.configurations[place].replicates
            one = recorded[replicates[rng.integers(len(replicates))].recorded or ("", 0)]
            drawn.append((place, one))
        by_metric = sorted(drawn, key=lambda each: FACTS["first by validation"](each[1], table.metric))
        for name, fact in FACTS.items():
            chosen, _trial = min(by_metric[:kept], key=lambda each: fact(each[1], table.metric))
            found[name].append(float(quality.estimates[chosen]) - quality.best)
    return {name: fmean(values) for name, values in found.items()}


def main(
    tables: Annotated[list[Path], typer.Argument(help="trial tables: Parquet files")],
    trials: int = 12,
    kept: int = 3,
    sweeps: int = 2000,
) -> None:
    """Measure and print."""
    measured = {path.stem: regrets(path, trials, kept, sweeps) for path in tables}
    shown = Table("preference", *measured, "mean", title=f"mean regret: {kept} best of {trials} trials")
    for name in FACTS:
        values = [found[name] for found in measured.values()]
        shown.add_row(name, *(f"{value:.4f}" for value in (*values, fmean(values))))
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
