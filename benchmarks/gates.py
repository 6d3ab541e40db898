"""How often does the gate on the version in use promote, refuse and abstain? Resampled recorded predictions.

    python -m benchmarks.gates [--resamplings 4000] [--rows 1000] [--discordance 0.1] [--seed-sd 0.005] [--seed 0]
                               [--table TABLE.parquet]

Each resampling draws two recorded trials and test rows with replacement. Discordant rows (right for exactly one of the
two trials) are drawn with the given share, or with their own share for ``--discordance 0``. Each discordant row is then
given to the challenger with the probability that makes its true accuracy larger by the wanted gain. So gains are known,
and the predictions are recorded ones. A null challenger is another seed of the champion: its true gain is normal
around 0 with the standard deviation seed_sd √2. The decision is that of ``promote``, and so is the gate on slices.

If the table has several seeds of a configuration, they are null challengers as they are.
"""

import itertools
import math
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import yaml
from numpy.typing import NDArray

from benchmarks.coverage import share
from benchmarks.intervals import FEW_SHOT
from orchestrator.core.sweeps.gates import Gates
from orchestrator.core.trials.row_measures import RowMeasures
from orchestrator.evaluation.scores.seed_noise import assumed_seed_sd
from orchestrator.promotion.gates.paired import decide, slice_gate
from orchestrator.replay.table_file import read_table
from orchestrator.statistics.paired import mcnemar, mcnemar_power

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
ALPHA = Gates().p_value


class Recorded:
    """The recorded trials with test rows of one table.

    Attributes:
        correct_kn: whether each trial classifies each row rightly, one trial per configuration.
        references_n: true class of each row.
        replicates: right and wrong rows of each configuration with several seeds, shape (s, n) each.
        training_rows: rows on which each trial was trained.
    """

    def __init__(self, table: Path) -> None:
        recorded = read_table(table)
        self.training_rows: int = yaml.safe_load(recorded.spec_text)["data"]["train"]
        groups = [[rows for trial in group if (rows := trial.test_rows)] for group in recorded.configurations()]
        groups = [group for group in groups if group]
        self.references_n: IntArray = np.array(groups[0][0].references)
        right = [np.array([np.array(rows.predictions) == self.references_n for rows in group]) for group in groups]
        self.correct_kn: BoolArray = np.array([group[0] for group in right])
        self.replicates = [group for group in right if len(group) > 1]

    def pair(
        self, rows: int, discordance: float, gain: float, draw: np.random.Generator
    ) -> tuple[BoolArray, BoolArray, IntArray]:
        """Return the right and wrong rows of challenger and champion on resampled rows, and the true classes.

        Args:
            rows: number of rows.
            discordance: expected share of discordant rows; 0: that of the two trials.
            gain: true difference of the accuracies.
            draw: source of the draws.
        """
        first_n, second_n = self.correct_kn[draw.choice(len(self.correct_kn), size=2, replace=False)]
        apart_n = first_n != second_n
        portion = discordance or float(apart_n.mean())
        number = draw.binomial(rows, portion)
        chosen = np.concatenate(
            [draw.choice(np.flatnonzero(apart_n), number), draw.choice(np.flatnonzero(~apart_n), rows - number)]
        )
        wins = draw.random(number) < (1 + np.clip(gain / portion, -1, 1)) / 2
        challenger, champion = first_n[chosen].copy(), first_n[chosen].copy()
        challenger[:number], champion[:number] = wins, ~wins
        return challenger, champion, self.references_n[chosen]


def decisions(
    recorded: Recorded,
    resamplings: int,
    rows: int,
    discordance: float,
    gain: float,
    sds: tuple[float, float],
    draw: np.random.Generator,
) -> Counter[str]:
    """Return how often the gate promotes, refuses and abstains.

    Args:
        recorded: the trials.
        resamplings: number of pairs.
        rows: as in ``Recorded.pair``.
        discordance: as in ``Recorded.pair``.
        gain: true difference of the configurations.
        sds: standard deviation between seeds in the truth, and in the test.
        draw: source of the draws.
    """
    found: Counter[str] = Counter()
    for _ in range(resamplings):
        true_gain = gain + sds[0] * math.sqrt(2) * draw.standard_normal()
        challenger, champion, references = recorded.pair(rows, discordance, true_gain, draw)
        passed = decide(mcnemar(challenger, champion), 0.0, ALPHA, sds[1])[0]
        found[{True: "promote", False: "refuse", None: "abstain"}[passed]] += 1
        found["slices refuse"] += slice_gate(
            _rows(challenger, references), _rows(champion, references), _slices(references), "champion", Gates()
        ).refuses
    return found


def of_replicates(recorded: Recorded, resamplings: int, seed_sd: float, draw: np.random.Generator) -> Counter[str]:
    """Return how often other recorded seeds of a configuration are promoted, with resampled rows."""
    pairs = [pair for group in recorded.replicates for pair in itertools.permutations(group, 2)]
    found: Counter[str] = Counter()
    for _ in range(resamplings):
        challenger, champion = pairs[draw.integers(len(pairs))]
        chosen = draw.integers(len(challenger), size=len(challenger))
        passed = decide(mcnemar(challenger[chosen], champion[chosen]), 0.0, ALPHA, seed_sd)[0]
        found[{True: "promote", False: "refuse", None: "abstain"}[passed]] += 1
    return found


def _rows(correct_n: BoolArray, references_n: IntArray) -> RowMeasures:
    predictions_n = np.where(correct_n, references_n, references_n + 1)
    ones = (1.0,) * len(correct_n)
    return RowMeasures(
        losses=ones, units=ones, predictions=tuple(predictions_n.tolist()), references=tuple(references_n.tolist())
    )


def _slices(references_n: IntArray) -> dict[str, list[int]]:
    return {f"label {label}": np.flatnonzero(references_n == label).tolist() for label in np.unique(references_n)}


def main(
    *,
    resamplings: Annotated[int, typer.Option(help="pairs of each line")] = 4000,
    rows: Annotated[int, typer.Option(help="test rows")] = 1000,
    discordance: Annotated[float, typer.Option(help="share of discordant rows; 0: as recorded")] = 0.1,
    seed_sd: Annotated[
        float | None, typer.Option(help="standard deviation of accuracy between seeds; the default of promote")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of all draws")] = 0,
    table: Annotated[Path, typer.Option(help="recorded trials with test rows")] = FEW_SHOT,
) -> None:
    """Resample, and print the shares with 95 % binomial intervals."""
    started, recorded = time.monotonic(), Recorded(table)
    seed_sd = assumed_seed_sd(recorded.training_rows) if seed_sd is None else seed_sd
    apart = [float((a != b).mean()) for a, b in itertools.combinations(recorded.correct_kn, 2)]
    print(
        f"{table.stem}: {len(recorded.correct_kn)} configurations, {len(recorded.references_n):,} test rows; "
        f"discordant rows of two trials {min(apart):.1%} to {max(apart):.1%}; noise between seeds {seed_sd:.2g}\n"
        f"{resamplings:,} resamplings, {rows:,} rows, {discordance or 'recorded'} discordant, level {ALPHA:g}"
    )
    for name, gain, sds in (
        ("null, equal adapters: exact McNemar alone", 0.0, (0.0, 0.0)),
        ("null, another seed: exact McNemar alone", 0.0, (seed_sd, 0.0)),
        ("null, another seed: with the noise between seeds (the default)", 0.0, (seed_sd, seed_sd)),
        ("gain of 3 points: exact McNemar alone", 0.03, (0.0, 0.0)),
        ("gain of 3 points: with the noise between seeds in the test", 0.03, (0.0, seed_sd)),
        ("gain of 3 points, one seed each: with the noise (the default)", 0.03, (seed_sd, seed_sd)),
    ):
        draw = np.random.default_rng([seed, 1])
        found = decisions(recorded, resamplings, rows, discordance, gain, sds, draw)
        others = {"refused": "refuse", "abstained": "abstain", "slices refuse": "slices refuse"}
        rest = ", ".join(f"{word} {found[key] / resamplings:.1%}" for word, key in others.items())
        print(f"  {name:<64} promoted {share(found['promote'], resamplings)}, {rest}")
    print(f"  exact power of McNemar at a gain of 3 points: {mcnemar_power(rows, 0.03, discordance or 0.1, ALPHA):.1%}")
    if recorded.replicates:
        found = of_replicates(recorded, resamplings, seed_sd, np.random.default_rng([seed, 2]))
        name = "null, recorded seeds of one configuration (the default)"
        print(f"  {name:<64} promoted {share(found['promote'], resamplings)}")
    else:
        print("  the table has one seed a configuration: other seeds are simulated, not recorded")
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    typer.run(main)
