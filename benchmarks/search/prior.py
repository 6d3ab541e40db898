"""How good is a first trial from a prior, on models which the prior was not fitted on?

    python -m benchmarks.search.prior PATH/tinker_sft_sweep.csv

The table holds the final test loss of models × learning rates × ranks. For each held-out model, every rule chooses rank
and rate from the other models; the measured point nearest to it, in the logarithms, is the first trial. Its regret is
its loss over the model's lowest one, less 1. Once, one model is held out; once, its whole family: related models are
not independent.

Rules: `constant`, one point for all models; `rate for rank`, the highest rank of the model's grid and the best rate at
that rank; `rate for rank and size`, the same with more weight on models of like size.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

Point: TypeAlias = tuple[float, float]
"""Learning rate and rank."""
Grid: TypeAlias = Mapping[Point, float]
"""Regret of each measured point of one model, a part of its lowest loss."""
Rule: TypeAlias = Callable[[Mapping[str, Grid], str, Grid], Point]
"""Returns the proposal for a model: from the grids of the others, its name, and its measured points."""

NEAR = 0.01
WANTED_SHARE = 0.8
SIZE_WIDTH = np.log(4)
"""Width of the kernel over the logarithm of the size: a model of four times the size weighs 0.6."""
SIZES = {"Kimi-K2": 1000.0, "DeepSeek-V3.1": 671.0}
"""Billions of weights, for the names without a size."""


def read_grids(path: Path) -> dict[str, Grid]:
    """Return the regrets of every model."""
    rows = pd.read_csv(path)
    grids: dict[str, Grid] = {}
    for model, points in rows.groupby("model"):
        regrets = points["test_nll"] / points["test_nll"].min() - 1
        grids[str(model)] = {
            (float(rate), float(rank)): float(regret)
            for rate, rank, regret in zip(points["learning_rate"], points["rank"], regrets, strict=True)
        }
    return grids


def family(model: str) -> str:
    """Return a model's family: its maker and series, without version and size (``Qwen/Qwen``, ``openai/gpt-oss``)."""
    maker, _, name = model.partition("/")
    return f"{maker}/{re.split(r'[0-9]', name)[0].rstrip('-')}"


def size(model: str) -> float:
    """Return the billions of weights in a model's name."""
    found = re.search(r"(\d+(?:\.\d+)?)B", model, re.IGNORECASE)
    return float(found[1]) if found else next(value for name, value in SIZES.items() if name in model)


def constant(others: Mapping[str, Grid], model: str, grid: Grid) -> Point:
    """Return the point with the lowest mean regret among those which at least half of the other models have."""
    del model, grid
    return _lowest(others, {point for other in others.values() for point in other}, dict.fromkeys(others, 1.0))


def rate_for_rank(others: Mapping[str, Grid], model: str, grid: Grid) -> Point:
    """Return the highest rank of the grid with the best rate at that rank."""
    del model
    return _best_at_highest_rank(others, grid, dict.fromkeys(others, 1.0))


def rate_for_rank_and_size(others: Mapping[str, Grid], model: str, grid: Grid) -> Point:
    """Return the same, with a weight for each model by the ratio of the sizes."""
    ratios = {other: np.log(size(other) / size(model)) / SIZE_WIDTH for other in others}
    return _best_at_highest_rank(others, grid, {other: float(np.exp(-(at**2) / 2)) for other, at in ratios.items()})


RULES: dict[str, Rule] = {
    "constant": constant,
    "rate for rank": rate_for_rank,
    "rate for rank and size": rate_for_rank_and_size,
}


def regrets(grids: Mapping[str, Grid], rule: Rule, group: Callable[[str], str]) -> dict[str, float]:
    """Return the regret of the first trial on each model; the models of its group are held out."""
    found = {}
    for model, grid in grids.items():
        others = {other: points for other, points in grids.items() if group(other) != group(model)}
        rate, rank = rule(others, model, grid)
        nearest = min(grid, key=lambda point: np.hypot(np.log(point[0] / rate), np.log(point[1] / rank)))
        found[model] = grid[nearest]
    return found


def _best_at_highest_rank(others: Mapping[str, Grid], grid: Grid, weights: Mapping[str, float]) -> Point:
    wanted = max(rank for _, rank in grid)
    ranks = {rank for other in others.values() for _, rank in other}
    rank = min(ranks, key=lambda each: abs(np.log(each / wanted)))
    with_rank = {model: other for model, other in others.items() if any(each == rank for _, each in other)}
    points = {point for other in with_rank.values() for point in other if point[1] == rank}
    return _lowest(with_rank, points, weights)


def _lowest(others: Mapping[str, Grid], points: set[Point], weights: Mapping[str, float]) -> Point:
    """Return the point with the lowest weighted mean regret; points of less than half of the models do not count."""
    counts = {point: sum(point in grid for grid in others.values()) for point in points}
    common = {point for point, count in counts.items() if 2 * count >= min(len(others), max(counts.values()))}

    def mean(point: Point) -> float:
        having = [model for model, grid in others.items() if point in grid]
        return float(np.average([others[model][point] for model in having], weights=[weights[one] for one in having]))

    return min(sorted(common), key=mean)


def main(path: Path) -> None:
    """Print the regrets of the rules' first trials."""
    grids = read_grids(path)
    shown = Table(title=f"first trial on {len(grids)} held-out models", title_justify="left")
    for head in ("rule", "held out", "within 1 %", "median regret", "worst", "worst model"):
        shown.add_column(head, justify="left" if head in {"rule", "held out", "worst model"} else "right")
    for name, rule in RULES.items():
        for held_out, group in (("model", str), ("family", family)):
            found = regrets(grids, rule, group)
            share = float(np.mean([regret <= NEAR for regret in found.values()]))
            worst = max(found, key=lambda model: found[model])
            cells = (f"{share:.0%}", f"{np.median([*found.values()]):.2%}", f"{found[worst]:.2%}", worst)
            shown.add_row(name, held_out, *cells)
    Console(width=118).print(shown)
    print(f"wanted: within {NEAR:.0%} on at least {WANTED_SHARE:.0%} of the models")


if __name__ == "__main__":
    typer.run(main)
