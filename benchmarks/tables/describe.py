"""Figures and pictures of the tables: noise between seeds, early and final values, the best and the default."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.tables.record import FOLDER
from orchestrator.core.metric import Direction, Metric
from orchestrator.replay.table import TableTrial, TrialTable
from orchestrator.replay.table_file import read_table

SHARES = (1 / 12, 1 / 6, 1 / 4, 1 / 2)
"""Shares of a trial's budget at which early values are compared with final ones."""
LOSSES = tuple(Metric(name=name, direction=Direction.MINIMIZE) for name in ("val/loss", "train/loss"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """Figures of one table; values in the units of its metric.

    Attributes:
        validation_noise, test_noise: pooled standard deviation between seeds of one configuration, of the best
            validation value and of the test value at the same checkpoint; NaN without replicates.
        correlations: Spearman correlation of the best value so far of a metric with the final value of the searched
            metric, over configurations, by metric and share of the budget.
        default, best: mean test value over seeds of the default, and of the best configuration by mean validation
            value among those with as many seeds.
    """

    table: TrialTable
    validation_noise: float
    test_noise: float
    correlations: dict[str, tuple[float, ...]]
    default: float
    best: float


def describe(table: TrialTable) -> Description:
    """Return the figures of a table; its first configuration is the default."""
    groups = table.configurations()
    most = max(len(group) for group in groups)
    repeated = [group for group in groups if len(group) == most]
    leader = min(repeated, key=lambda group: table.metric.sort_key(fmean(_validation(table, group))))
    first = [group[0] for group in groups if group[0].reports]
    return Description(
        table=table,
        validation_noise=_pooled(_validation(table, group) for group in groups),
        test_noise=_pooled(_test(table, group) for group in groups),
        correlations={
            metric.name: tuple(_correlation(table, first, metric, share) for share in SHARES)
            for metric in (table.metric, *(loss for loss in LOSSES if loss != table.metric))
        },
        default=fmean(_test(table, groups[0])),
        best=fmean(_test(table, leader)),
    )


def markdown(descriptions: Sequence[Description]) -> str:
    """Return the figures as two Markdown tables."""
    names = ["table", "metric", "configurations", "trials", "report points", "samples of a trial"]
    names += ["default, test", "best, test", "sd between seeds, validation", "test"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for item in descriptions:
        table = item.table
        lines.append(
            f"| {table.name} | {table.metric.name} | {len(table.configurations())} | {len(table.trials)} | "
            f"{len(table.points)} | {table.points[-1]:,} | {item.default:.4f} | {item.best:.4f} | "
            f"{_deviation(item.validation_noise)} | {_deviation(item.test_noise)} |"
        )
    shares = " | ".join(f"{share:.0%}" for share in SHARES)
    lines += ["", f"| table | early value of | {shares} |", "|---|---|" + "---|" * len(SHARES)]
    for item in descriptions:
        for name, values in item.correlations.items():
            lines.append(f"| {item.table.name} | {name} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines)


def _deviation(value: float) -> str:
    """Return a standard deviation between seeds as text; with one seed there is none."""
    return "–" if math.isnan(value) else f"{value:.4f}"


def picture(description: Description) -> Figure:
    """Return the learning curves of a table's configurations, coloured by learning rate, and the correlations."""
    table = description.table
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = [trial.settings.learning_rate for trial in table.trials]
    for trial in (group[0] for group in table.configurations()):
        share = _share(math.log(trial.settings.learning_rate), math.log(min(rates)), math.log(max(rates)))
        values = [report.metrics.get(table.metric.name, math.nan) for report in trial.reports]
        samples = [report.samples for report in trial.reports]
        left.plot(samples, values, color=_colour(share), linewidth=0.8, alpha=0.7)
    left.set(
        title=f"{table.name}: one line per configuration, from low (violet) to high (yellow) learning rate",
        xlabel="training samples",
        ylabel=table.metric.name,
    )
    for name in description.correlations:
        metric = next((loss for loss in LOSSES if loss.name == name), table.metric)
        first = [group[0] for group in table.configurations() if group[0].reports]
        shares = [point / table.points[-1] for point in table.points]
        right.plot(shares, [_correlation(table, first, metric, share) for share in shares], label=name, marker=".")
    right.set(
        title="rank correlation of the best value so far with the final one",
        xlabel="share of the training",
        ylabel=f"Spearman correlation with final {table.metric.name}",
        ylim=(-0.3, 1.05),
    )
    right.legend()
    for axes in (left, right):
        axes.title.set_fontsize(9)
    return figure


def write(say: Callable[[str], None], folder: Path = FOLDER) -> None:
    """Print the figures of all tables, and write one picture a table beside it."""
    descriptions = [describe(read_table(path)) for path in sorted(folder.glob("*.parquet"))]
    say(markdown(descriptions))
    for description in descriptions:
        picture(description).savefig(folder / f"{description.table.name}.png", dpi=110)


def _validation(table: TrialTable, group: Iterable[TableTrial]) -> list[float]:
    """Return the best validation value of each trial that has one."""
    return [score for trial in group if (score := trial.score(table.metric)) is not None]


def _test(table: TrialTable, group: Iterable[TableTrial]) -> list[float]:
    name = table.metric.name.partition("/")[2]
    return [trial.test[name] for trial in group if name in trial.test]


def _pooled(groups: Iterable[Sequence[float]]) -> float:
    """Return the pooled standard deviation of groups with at least two values."""
    squares = [(np.var(group, ddof=1) * (len(group) - 1), len(group) - 1) for group in groups if len(group) > 1]
    freedom = sum(degrees for _, degrees in squares)
    return math.sqrt(sum(square for square, _ in squares) / freedom) if freedom else math.nan


def _correlation(table: TrialTable, trials: Sequence[TableTrial], metric: Metric, share: float) -> float:
    """Return the Spearman correlation of the best value of ``metric`` so far with the final searched value."""
    until = max((point for point in table.points if point <= share * table.points[-1] + 1), default=table.points[0])
    early = [_so_far(trial, metric, until) for trial in trials]
    final = [_so_far(trial, table.metric, table.points[-1]) for trial in trials]
    return pd.Series(early).corr(pd.Series(final), method="spearman")


def _so_far(trial: TableTrial, metric: Metric, until: int) -> float:
    """Return the sort key of the best value up to a report point; infinity without a value."""
    values = (report.metrics.get(metric.name, math.nan) for report in trial.reports if report.samples <= until)
    return min((metric.sort_key(value) for value in values), default=math.inf)


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)


def _colour(share: float) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    red, green, blue, alpha = colormaps["viridis"](share)
    return red, green, blue, alpha
