"""How good is the shipped prior's first trial on models whose rates it does not know?

    python -m benchmarks.search.prior PATH/tinker_sft_sweep.csv

The table holds the final test loss of models × learning rates × ranks. For each model, the product's own rule
(``orchestrator.search.prior``) proposes rank and rate from its shipped rates, without those of the held-out models. The
measured point nearest to the proposal, in the logarithms, is the first trial. Its regret is its loss over the model's
lowest one, less 1. Once, one model is held out; once, its whole family: related models are not independent.

`constant` is one point for all models: the one with the lowest mean regret on the other models.
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

from orchestrator.core.data import Origin, Source
from orchestrator.core.space import Choices, FloatRange, Parameter, Space
from orchestrator.search.prior.points import Target, shipped_point
from orchestrator.search.prior.rates import shipped_rates

Point: TypeAlias = tuple[float, float]
"""Learning rate and rank."""
Grid: TypeAlias = Mapping[Point, float]
"""Regret of each measured point of one model, a part of its lowest loss."""
Group: TypeAlias = Callable[[str], str]
"""Returns the group of a model; all models of a group are held out together."""
Rule: TypeAlias = Callable[[Mapping[str, Grid], str, Group], Point]
"""Returns the proposal for a model, from what is known of the other groups."""

NEAR = 0.01
WANTED_SHARE = 0.8


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


def shipped(grids: Mapping[str, Grid], model: str, group: Group) -> Point:
    """Return the product's start point, without the rates of the model's group."""
    grid, every = grids[model], shipped_rates()
    rates = [rate for rate, _ in grid]
    space = Space(
        parameters=(
            Parameter(name="learning_rate", distribution=FloatRange(low=min(rates), high=max(rates), log=True)),
            Parameter(name="rank", distribution=Choices(choices=tuple(sorted({int(rank) for _, rank in grid})))),
        )
    )
    (weights,) = {rate.weights for rate in every if rate.model == model}
    source = Source(origin=Origin.HUB, name=model)
    target = Target(space=space, fixed={}, objective="table", model=source, weights=int(weights))
    point = shipped_point(target, [rate for rate in every if group(rate.model) != group(model)])
    assert point is not None, "both parameters are searched"
    return float(str(point["learning_rate"])), float(str(point["rank"]))


def constant(grids: Mapping[str, Grid], model: str, group: Group) -> Point:
    """Return the point with the lowest mean regret among those which at least half of the other models have."""
    others = [grid for other, grid in grids.items() if group(other) != group(model)]
    points = {point for grid in others for point in grid}
    counts = {point: sum(point in grid for grid in others) for point in points}
    common = [point for point, count in counts.items() if 2 * count >= min(len(others), max(counts.values()))]
    return min(sorted(common), key=lambda point: np.mean([grid[point] for grid in others if point in grid]))


RULES: dict[str, Rule] = {"constant": constant, "shipped": shipped}


def regrets(grids: Mapping[str, Grid], rule: Rule, group: Group) -> dict[str, float]:
    """Return the regret of the first trial on each model; the models of its group are held out."""
    found = {}
    for model, grid in grids.items():
        rate, rank = rule(grids, model, group)
        nearest = min(grid, key=lambda point: np.hypot(np.log(point[0] / rate), np.log(point[1] / rank)))
        found[model] = grid[nearest]
    return found


def unlike_shipped(grids: Mapping[str, Grid]) -> list[str]:
    """Return the models and ranks whose shipped rate is not the best one of the table."""
    known = {(rate.model, rate.rank): rate.learning_rate for rate in shipped_rates()}
    unlike = []
    for model, grid in grids.items():
        for rank in sorted({rank for _, rank in grid}):
            best = min((point for point in grid if point[1] == rank), key=lambda point: grid[point])
            if known.get((model, int(rank))) != best[0]:
                unlike.append(f"{model}, rank {rank:g}: {best[0]:g}")
    return unlike


def main(path: Path) -> None:
    """Print the regrets of the rules' first trials."""
    grids = read_grids(path)
    shown = Table(title=f"first trial on {len(grids)} held-out models", title_justify="left")
    for head in ("rule", "held out", "within 1 %", "median regret", "mean", "worst", "worst model"):
        shown.add_column(head, justify="left" if head in {"rule", "held out", "worst model"} else "right")
    for name, rule in RULES.items():
        for held_out, group in (("model", str), ("family", family)):
            found = regrets(grids, rule, group)
            each = np.array([*found.values()])
            worst = max(found, key=lambda model: found[model])
            cells = (np.mean(each <= NEAR), np.median(each), np.mean(each), found[worst])
            shares = (f"{cells[0]:.0%}", *(f"{cell:.2%}" for cell in cells[1:]))
            shown.add_row(name, held_out, *shares, worst)
    Console(width=118).print(shown)
    print(f"wanted: within {NEAR:.0%} on at least {WANTED_SHARE:.0%} of the models")
    unlike = unlike_shipped(grids)
    print(f"shipped rates unlike the table's best ones: {'; '.join(unlike) or 'none'}")


if __name__ == "__main__":
    typer.run(main)
