"""Coverage of intervals in replays of recorded tables, with the noise between seeds of the other tables.

A table with at least two seeds of some configurations is a population: its recorded seeds and test rows. Each sweep
draws two thirds of these configurations, one recorded seed of each, and rows with replacement: validation rows to
choose the winner, and test rows. So the rows, their hardness and the seeds are real, and the truth is known: the mean
over the configuration's recorded seeds and all rows.

The intervals assume a noise between seeds which they have not seen: that of the other tables, transferred by the
product's rule (standard deviation times the root of the training rows). Without another table they assume the product's
rule, which was chosen in view of the table ``few-shot``: then the noise between seeds is not left out. Each coverage
has a clustered interval: sweeps with the same winning configuration share its seeds and are one cluster; over all
tables a table is a cluster. All sweeps of a table share its rows, and the intervals do not hold this noise.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.coverage import BoolArray, sweep_intervals
from orchestrator.evaluation.scores.seed_noise import HIGHEST, LOWEST, assumed_seed_sd
from orchestrator.replay.table_file import read_table
from orchestrator.replay.task import spec_of
from orchestrator.statistics.intervals import mean_interval
from orchestrator.statistics.noise import noise_of_replicates

SHARE = 2 / 3
"""Share of a table's configurations in one sweep."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """The configurations of a table with at least two seeds.

    Attributes:
        name: of the table.
        training_rows: of one trial.
        correct: right and wrong test rows of each seed, shape (seeds, rows), by configuration.
    """

    name: str
    training_rows: int
    correct: tuple[BoolArray, ...]

    @property
    def seed_sd(self) -> float:
        """Standard deviation of the accuracy between seeds, without the noise of the rows."""
        return noise_of_replicates([each.astype(float) for each in self.correct], self.name).sd


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """The coverage of one kind of interval in a table.

    Attributes:
        covered: number of intervals with the truth inside, by winning configuration.
        sweeps: number of sweeps, by winning configuration.
        width: mean width of the intervals.
    """

    covered: tuple[int, ...]
    sweeps: tuple[int, ...]
    width: float

    @property
    def text(self) -> str:
        """The coverage with its interval clustered by winning configuration."""
        return clustered_share(self.covered, self.sweeps)


def population(path: Path) -> Population | None:
    """Return the population of a recorded table; None without a configuration with two seeds."""
    table = read_table(path)
    groups = [
        np.array([np.equal(rows.predictions, rows.references) for trial in group if (rows := trial.test_rows)])
        for group in table.configurations()
    ]
    replicated = tuple(group for group in groups if len(group) > 1)
    training_rows = spec_of(table).data.train
    if not replicated or training_rows is None:
        return None
    return Population(name=path.stem, training_rows=training_rows, correct=replicated)


def assumed_sd(table: Population, others: Sequence[Population]) -> tuple[float, str]:
    """Return the standard deviation between seeds assumed for a table, and its origin in words."""
    if not others:
        return assumed_seed_sd(table.training_rows), "the product's rule: no other table has seeds"
    by_root = math.sqrt(np.mean([each.seed_sd**2 * each.training_rows for each in others]))
    sd = min(HIGHEST, max(LOWEST, by_root / math.sqrt(table.training_rows)))
    return sd, f"from {', '.join(each.name for each in others)}"


def replays(
    table: Population,
    seed_sd: float,
    sweeps: int,
    validation_rows: int,
    test_rows: int,
    seeds: int,
    draw: np.random.Generator,
) -> dict[str, Coverage]:
    """Return the coverage of each kind of interval in sweeps drawn from a table's trials and rows."""
    found: dict[str, list[tuple[int, bool, float]]] = defaultdict(list)
    size, rows = max(2, round(SHARE * len(table.correct))), table.correct[0].shape[1]
    for _ in range(sweeps):
        chosen = draw.choice(len(table.correct), size, replace=False)
        drawn = [int(draw.integers(len(table.correct[place]))) for place in chosen]
        on = draw.integers(rows, size=validation_rows)
        validation = np.array([table.correct[place][seed, on] for place, seed in zip(chosen, drawn, strict=True)])
        winner = int(np.argmax(validation.mean(axis=1)))
        own, configuration = table.correct[chosen[winner]], int(chosen[winner])
        tested = own[[drawn[winner], *draw.integers(len(own), size=seeds)]][:, draw.integers(rows, size=test_rows)]
        truths = float(own.mean()), float(own[drawn[winner]].mean())
        for name, interval, truth in sweep_intervals(validation, tested, seed_sd, *truths):
            inside = interval.low <= truth <= interval.high
            found[name].append((configuration, inside, interval.high - interval.low))
    return {name: _coverage(seen) for name, seen in found.items()}


def _coverage(seen: Sequence[tuple[int, bool, float]]) -> Coverage:
    winners = sorted({winner for winner, _, _ in seen})
    return Coverage(
        covered=tuple(sum(inside for each, inside, _ in seen if each == winner) for winner in winners),
        sweeps=tuple(sum(each == winner for each, _, _ in seen) for winner in winners),
        width=float(np.mean([width for _, _, width in seen])),
    )


def clustered_share(covered: Sequence[int], sweeps: Sequence[int]) -> str:
    """Return a share over clusters with its interval: that of a ratio of sums, Student's with clusters - 1 degrees."""
    value = sum(covered) / sum(sweeps)
    if len(covered) < 2:
        return f"{value:6.1%} (one cluster: no interval)"
    interval = mean_interval(np.array(covered, dtype=float), np.array(sweeps, dtype=float))
    return f"{value:6.1%} ({max(0.0, interval.low):.1%} to {min(1.0, interval.high):.1%})"


def print_coverage(
    paths: Sequence[Path], sweeps: int, validation_rows: int, test_rows: int, seeds: int, draw: np.random.Generator
) -> None:
    """Print the coverage in replays of each table, and over all tables.

    Args:
        paths: the recorded tables; those without two seeds of a configuration are left out.
        sweeps: sweeps drawn from each table.
        validation_rows: validation rows drawn for each sweep.
        test_rows: test rows drawn for each sweep.
        seeds: fresh seeds of a confirmation.
        draw: source of all draws.
    """
    tables = [table for path in paths if (table := population(path)) is not None]
    totals: dict[str, list[Coverage]] = defaultdict(list)
    for table in tables:
        sd, origin = assumed_sd(table, [other for other in tables if other is not table])
        print(
            f"\n{table.name}: {len(table.correct)} configurations with seeds, {table.training_rows:,} training rows; "
            f"sd between seeds assumed {sd:.4f} ({origin}), recorded {table.seed_sd:.4f}\n"
            f"coverage of 95 % intervals in {sweeps:,} replays (95 % interval, clusters: winning configurations)"
        )
        for name, found in replays(table, sd, sweeps, validation_rows, test_rows, seeds, draw).items():
            print(f"  {name:<74} {found.text}   width {found.width:.4f}")
            totals[name].append(found)
    if len(tables) > 1:
        print(f"\nall {len(tables)} tables (95 % interval, clusters: tables)")
        for name, each in totals.items():
            print(f"  {name:<74} {clustered_share([sum(c.covered) for c in each], [sum(c.sweeps) for c in each])}")
