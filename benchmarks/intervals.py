"""Do the intervals cover, and do the gates decide rightly? Simulated sweeps with known truth.

    python -m benchmarks.intervals [--sweeps 2000] [--trials 24] [--validation-rows 200] [--test-rows 1000]
                                   [--seed-sd SD] [--seeds 3] [--equal] [--table TABLE.parquet] [--seed 0]
                                   [--leave-one-out]

Each sweep draws true qualities from a recorded table (its test accuracies, shrunk by their noise), gives each trial a
seed, classifies validation rows, and chooses the best. Its winner is then tested, alone and with fresh seeds. Rows are
right or wrong by a normal model: the correlation between trials on one row is that of the table. The noise between
seeds is that of the table's replicates, or 0.005 if it has none: the spread of five seeds in
`benchmarks/history/2026-11-26.md`. With --equal all trials have the same quality.

With --leave-one-out sweeps are drawn from the recorded trials and rows of each table, and the noise between seeds comes
from the other tables: see `benchmarks.leave_one_out`.

Prints the coverage of 95 % intervals, the error of corrected values, how often the best trial is among the ties,
and how often a paired gate promotes.
"""

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from benchmarks.coverage import Covered, corrected_value, share, sweep_intervals
from benchmarks.leave_one_out import print_coverage
from orchestrator.replay.table_file import read_table
from orchestrator.statistics.intervals import Interval
from orchestrator.statistics.noise import SeedNoise, interaction, noise_of_replicates, prior_noise, row_covariance
from orchestrator.statistics.paired import mcnemar, mcnemar_power, p_with_seed_noise
from orchestrator.statistics.selection import expected_optimism, shrink
from orchestrator.statistics.ties import accuracy_ties

Array = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
FEW_SHOT = Path(__file__).parent / "tables" / "few-shot.parquet"
ALPHA = 0.05
UNKNOWN_SD, HISTORY = 0.005, "benchmarks/history/2026-11-26.md, five seeds"
"""Standard deviation between seeds if a table has one seed per configuration, and its source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What the sweeps are drawn from.

    Attributes:
        qualities: pool of true accuracies of configurations.
        correlation: of the normal variables of two trials on one row.
        seed_sd: standard deviation of an adapter's true accuracy between seeds.
    """

    qualities: Array
    correlation: float
    seed_sd: float

    def classify(self, accuracies_k: Array, rows: int, draw: np.random.Generator) -> BoolArray:
        """Return the right and wrong rows of adapters with these true accuracies, shape (k, rows)."""
        common = math.sqrt(self.correlation) * draw.standard_normal(rows, dtype=np.float32)
        own = math.sqrt(1 - self.correlation) * draw.standard_normal((len(accuracies_k), rows), dtype=np.float32)
        correct: BoolArray = common + own < ndtri(np.clip(accuracies_k, 0.01, 0.99))[:, None]
        return correct

    def adapters(self, qualities_k: Array, draw: np.random.Generator) -> Array:
        """Return the true accuracies of one trained adapter per quality."""
        accuracies: Array = qualities_k + self.seed_sd * draw.standard_normal(len(qualities_k))
        return accuracies


class Tally:
    """How often intervals cover, and how wide they are."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[bool, float]]] = defaultdict(list)

    def add(self, name: str, interval: Interval, truth: float) -> None:
        """Note one interval."""
        self._seen[name].append((interval.low <= truth <= interval.high, interval.high - interval.low))

    def print(self) -> None:
        """Print coverage with its binomial interval, and the mean width."""
        for name, seen in self._seen.items():
            covered = sum(one for one, _ in seen)
            print(f"  {name:<74} {share(covered, len(seen))}   width {np.mean([width for _, width in seen]):.4f}")


def recorded(path: Path) -> tuple[BoolArray, SeedNoise]:
    """Return the right and wrong test rows of one trial per configuration, and the noise between seeds."""
    groups = [
        np.array([np.equal(rows.predictions, rows.references) for trial in group if (rows := trial.test_rows)])
        for group in read_table(path).configurations()
    ]
    replicates = [group.astype(float) for group in groups if len(group) > 1]
    noise = noise_of_replicates(replicates, path.stem) if replicates else prior_noise(UNKNOWN_SD, HISTORY)
    return np.array([group[0] for group in groups if len(group)]), noise


def fitted(correct_kn: BoolArray, seed_sd: float, *, equal: bool) -> World:
    """Return the world of a table: qualities as spread as the truth, and the correlation of two trials on a row."""
    accuracies = correct_kn.mean(axis=1)
    covariance = row_covariance(correct_kn.astype(float))
    qualities = np.array(shrink(accuracies, interaction(covariance) + seed_sd**2).spread_values)
    mean, size = float(accuracies.mean()), len(covariance)
    shared = (covariance.sum() - np.trace(covariance)) / (size * (size - 1)) * correct_kn.shape[1]
    threshold = float(ndtri(mean))

    def excess(correlation: float) -> float:
        both = multivariate_normal(cov=[[1, correlation], [correlation, 1]]).cdf([threshold, threshold])
        return float(both) - mean**2 - float(shared)

    return World(
        qualities=np.full(1, qualities.max()) if equal else qualities,
        correlation=float(brentq(excess, 0.0, 0.999)),
        seed_sd=seed_sd,
    )


def simulate(
    world: World, trials: int, validation_rows: int, test_rows: int, seeds: int, draw: np.random.Generator
) -> tuple[list[Covered], dict[str, float]]:
    """Return the intervals of one sweep with their truths, and the errors of the winner's values."""
    qualities = draw.choice(world.qualities, trials)
    adapters = world.adapters(qualities, draw)
    validation = world.classify(adapters, validation_rows, draw)
    scores = validation.mean(axis=1)
    winner = int(np.argmax(scores))
    truth, adapter = float(qualities[winner]), float(adapters[winner])
    again = world.adapters(np.full(seeds, truth), draw)
    tested = world.classify(np.array([adapter, *again]), test_rows, draw)
    intervals = sweep_intervals(validation, tested, world.seed_sd, truth, adapter)
    noise = world.seed_sd**2 + interaction(row_covariance(validation.astype(float)))
    values = {
        "as measured": float(scores[winner]),
        "shrunk (James and Stein)": shrink(scores, noise).values[winner],
        "less the expected optimism": scores[winner] - expected_optimism(scores, noise, draw, draws=1000),
        "median-unbiased": corrected_value(validation, world.seed_sd),
    }
    return intervals, {name: value - truth for name, value in values.items()}


def promoted(
    rows: int, discordance: float, gain: float, seed_sd: float, draw: np.random.Generator
) -> tuple[bool, bool]:
    """Return whether a challenger passes the exact McNemar test, and the test that knows the noise between seeds."""
    apart = float(np.clip(gain + math.sqrt(2) * seed_sd * draw.standard_normal(), -discordance, discordance))
    wins, losses, same = map(
        int, draw.multinomial(rows, [(discordance + apart) / 2, (discordance - apart) / 2, 1 - discordance])
    )
    outcomes = np.repeat([[True, False, True], [False, True, True]], [wins, losses, same], axis=1)
    test = mcnemar(*outcomes)
    return test.p_better <= ALPHA, p_with_seed_noise(test, seed_sd) <= ALPHA


def swapped(correct_kn: BoolArray, draw: np.random.Generator) -> bool:
    """Return whether a null challenger passes: two recorded trials, resampled rows, exchanged at random row by row."""
    first, second = draw.choice(len(correct_kn), size=2, replace=False)
    rows = draw.integers(correct_kn.shape[1], size=correct_kn.shape[1])
    one, other = correct_kn[first, rows], correct_kn[second, rows]
    exchange = draw.random(correct_kn.shape[1]) < 0.5
    return mcnemar(np.where(exchange, other, one), np.where(exchange, one, other)).p_better <= ALPHA


def print_ties(world: World, sweeps: int, trials: int, rows: int, draw: np.random.Generator) -> None:
    """Print how often the truly best adapter is among the ties, and how many trials are tied."""
    found, sizes = 0, []
    for _ in range(sweeps):
        adapters = world.adapters(draw.choice(world.qualities, trials), draw)
        members = accuracy_ties(range(trials), world.classify(adapters, rows, draw)).members
        found += int(np.argmax(adapters)) in members
        sizes.append(len(members))
    print(f"\nties with the best of {trials} trials on {rows:,} rows, {sweeps:,} sweeps (95 % interval)")
    print(f"  {'the truly best adapter is the best or tied':<74} {share(found, sweeps)}")
    print(f"  {'trials in the set, mean':<74} {np.mean(sizes):5.1f}")


def print_gates(correct_kn: BoolArray, world: World, resamplings: int, draw: np.random.Generator) -> None:
    print(f"\npaired gate at {ALPHA:.0%}, promoted of {resamplings:,} resamplings (95 % interval)")
    null = sum(swapped(correct_kn, draw) for _ in range(resamplings))
    print(f"  {'null: recorded trials, exchanged row by row':<74} {share(null, resamplings)}")
    for name, gain, seed_sd in (
        ("null: same adapter quality", 0.0, 0.0),
        ("null: other seed of the champion", 0.0, world.seed_sd),
        ("gain of 3 points", 0.03, 0.0),
        ("gain of 3 points, one seed each", 0.03, world.seed_sd),
    ):
        passed = np.sum([promoted(1000, 0.1, gain, seed_sd, draw) for _ in range(resamplings)], axis=0)
        label = f"{name}; 1,000 rows, 10 % discordant: McNemar"
        print(f"  {label:<74} {share(int(passed[0]), resamplings)}")
        if seed_sd:
            print(f"  {'… with the noise between seeds':<74} {share(int(passed[1]), resamplings)}")
    print(f"  exact power of McNemar at a gain of 3 points: {mcnemar_power(1000, 0.03, 0.1, ALPHA):.1%}")


def main(  # noqa: PLR0913  (the parameters are the command's options)
    *,
    sweeps: Annotated[int, typer.Option(help="simulated sweeps")] = 2000,
    trials: Annotated[int, typer.Option(help="trials of a sweep")] = 24,
    validation_rows: Annotated[int, typer.Option(help="rows on which the winner is chosen")] = 200,
    test_rows: Annotated[int, typer.Option(help="rows on which it is tested")] = 1000,
    seed_sd: Annotated[float | None, typer.Option(help="standard deviation of accuracy between seeds")] = None,
    seeds: Annotated[int, typer.Option(help="fresh seeds of a confirmation")] = 3,
    resamplings: Annotated[int, typer.Option(help="resamplings of a gate")] = 20_000,
    seed: Annotated[int, typer.Option(help="seed of all draws")] = 0,
    table: Annotated[Path, typer.Option(help="recorded trials to fit")] = FEW_SHOT,
    equal: Annotated[bool, typer.Option("--equal", help="all trials are equally good")] = False,
    leave_one_out: Annotated[
        bool, typer.Option("--leave-one-out", help="replays of each recorded table, seed noise from the others")
    ] = False,
) -> None:
    """Simulate, and print the figures."""
    started, draw = time.monotonic(), np.random.default_rng(seed)
    if leave_one_out:
        print_coverage(sorted(FEW_SHOT.parent.glob("*.parquet")), sweeps, validation_rows, test_rows, seeds, draw)
        return
    correct, noise = recorded(table)
    noise = noise if seed_sd is None else prior_noise(seed_sd, "given")
    world = fitted(correct, noise.sd, equal=equal)
    print(
        f"{table.stem}: {len(correct)} configurations; true accuracies {world.qualities.min():.3f} to "
        f"{world.qualities.max():.3f}, correlation on a row {world.correlation:.2f}, sd between seeds {noise.sd:.4f} "
        f"({noise.origin})"
    )
    tally, errors = Tally(), defaultdict[str, list[float]](list)
    for _ in range(sweeps):
        intervals, apart = simulate(world, trials, validation_rows, test_rows, seeds, draw)
        for name, interval, truth in intervals:
            tally.add(name, interval, truth)
        for name, error in apart.items():
            errors[name].append(error)
    print(f"\ncoverage of 95 % intervals in {sweeps:,} sweeps of {trials} trials (95 % interval)")
    tally.print()
    print("\nthe winner's validation value less the truth")
    for name, wrong in errors.items():
        print(f"  {name:<74} mean {np.mean(wrong):+.4f}   root mean square {np.sqrt(np.mean(np.square(wrong))):.4f}")
    print_ties(world, sweeps, trials, test_rows, draw)
    print_gates(correct, world, resamplings, draw)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    typer.run(main)
