"""The shipped sweep against an earlier one, in pairs with equal seeds: when does it find a winner as good?

    python -m benchmarks.shipped_sweep [--seeds 5] [--out build/shipped-sweep]

Each seed runs ``benchmarks/earlier/sentiment-2026-11-27.yaml`` and ``sweeps/sentiment.yaml``, one after another, in
processes and stores of their own; the order alternates. Both use the same validation rows. A finished run is kept in
``--out``: the same command continues, and more seeds can be added.

The search has found a winner as good with the first report whose best validation accuracy so far reaches the best of
the earlier sweep. ``--slack`` accepts a value lower by this much: with 0, the luckiest of the earlier 24 trials counts.
The ratio is to the whole time of the earlier search. A pair without such a report has the ratio of its whole time, and
is marked: the mean is then a lower bound.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from orchestrator.core.system.environment import set_environment_defaults
from orchestrator.ledger.ledger import Ledger
from orchestrator.statistics.intervals import mean_interval

ROOT = Path(__file__).parent.parent
EARLIER = ROOT / "benchmarks" / "earlier" / "sentiment-2026-11-27.yaml"
SHIPPED = ROOT / "sweeps" / "sentiment.yaml"
NAME = "sentiment"
"""The name of both sweeps."""
METRIC = "val/accuracy"
TEST = "test/accuracy"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRun:
    """A finished sweep.

    Attributes:
        seconds: from the start of the process to its end.
        searched: seconds from the start of the process to the last report of a trial of the search.
        best_so_far: seconds and value of every report that raised the best validation accuracy.
        trials: trials of the search.
        samples: their training samples.
        test: test accuracy of the winner.
    """

    seconds: float
    searched: float
    best_so_far: tuple[tuple[float, float], ...]
    trials: int
    samples: int
    test: float

    def held(self, value: float) -> float | None:
        """Return the seconds until the best validation accuracy so far is at least ``value``, or None."""
        return next((at for at, best in self.best_so_far if best >= value), None)


def run_sweep(file: Path, seed: int) -> SweepRun:
    """Run a sweep file with a seed, in stores that are removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        homes = {"LORATORY_HOME": f"{folder}/home", "LORATORY_MLFLOW_DIR": f"{folder}/mlflow"}
        command = [sys.executable, "-m", "orchestrator", "sweep", str(file), "--json", "--set", f"seed={seed}"]
        began = time.time()
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **homes}, capture_output=True, check=False, text=True
        )
        seconds = time.time() - began
        if done.returncode != 0:
            raise SystemExit(f"{file.name} with seed {seed} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        ledger = Ledger.open(f"sqlite:///{folder}/home/ledger.db")
        try:
            record = ledger.sweeps.find(NAME)
            records = [one for one in ledger.trials.all(record.id) if one.confirms is None]
        finally:
            ledger.close()
    reports = sorted((one.ended_at - began, one.metrics[METRIC]) for each in records for one in each.reports)
    best_so_far, best = [], -math.inf
    for at, value in reports:
        if value > best:
            best_so_far.append((at, value))
            best = value
    scored = [max((one.metrics[METRIC] for one in each.reports), default=-math.inf) for each in records]
    winner = records[int(np.argmax(scored))]
    return SweepRun(
        seconds=seconds,
        searched=reports[-1][0],
        best_so_far=tuple(best_so_far),
        trials=len(records),
        samples=sum(each.samples for each in records),
        test=winner.final.get(TEST, math.nan),
    )


def stored_run(file: Path, seed: int, out: Path) -> SweepRun:
    """Return the run kept in ``out``, or run the sweep and keep it."""
    path = out / f"{file.parent.name}-{seed}.json"
    if path.is_file():
        found = json.loads(path.read_text())
        return SweepRun(**{**found, "best_so_far": tuple(map(tuple, found["best_so_far"]))})
    run = run_sweep(file, seed)
    path.write_text(json.dumps(asdict(run)) + "\n")
    return run


def main(
    seeds: int = 5,
    slack: Annotated[float, typer.Option(help="accepted difference in validation accuracy")] = 0.0,
    out: Annotated[Path, typer.Option(help="folder of the finished runs")] = ROOT / "build" / "shipped-sweep",
) -> None:
    """Run the pairs, print each, and their mean ratio with its 95 % interval."""
    set_environment_defaults()
    out.mkdir(parents=True, exist_ok=True)
    ratios = []
    for seed in range(seeds):
        order = (EARLIER, SHIPPED) if seed % 2 == 0 else (SHIPPED, EARLIER)
        runs = {file: stored_run(file, seed, out) for file in order}
        earlier, shipped = runs[EARLIER], runs[SHIPPED]
        goal = earlier.best_so_far[-1][1]
        at = shipped.held(goal - slack)
        ratios.append((shipped.searched if at is None else at) / earlier.searched)
        for name, run in (("earlier", earlier), ("shipped", shipped)):
            print(
                f"seed {seed} {name}: {run.seconds:.0f} s, searched until {run.searched:.0f} s, {run.trials} trials, "
                f"{run.samples:,} samples, best {METRIC} {run.best_so_far[-1][1]:.4f} after "
                f"{run.best_so_far[-1][0]:.0f} s, winner's {TEST} {run.test:.4f}"
            )
        print(f"seed {seed}: as good after {'never' if at is None else f'{at:.0f} s'}, ratio {ratios[-1]:.2f}")
    if len(ratios) > 1:
        logs = mean_interval(np.log(ratios))
        low, value, high = (math.exp(one) for one in (logs.low, logs.value, logs.high))
        print(f"geometric mean of the ratios {value:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    typer.run(main)
