"""The public table of PEFT methods on MetaMathQA, whose configurations have no common space."""

import math
from pathlib import Path

import pandas as pd

from benchmarks.search.task import Configuration, Replicate, Task

TEST_ROWS = 1319
"""Rows of GSM8K's test split."""


def read_peft_task(path: Path) -> Task:
    """Return the task of ``peft_metamathqa.csv``: one run of each method, judged by its validation accuracy.

    The table has one seed of each run. So the deviation between seeds is taken as the sampling error of the best
    run's test accuracy; the true one is not smaller.
    """
    rows = pd.read_csv(path)
    configurations, accuracies = [], []
    for run, reports in rows.groupby("run"):
        curve = reports[reports["valid_accuracy"].notna()].sort_values("step")
        accuracy = float(reports["test_accuracy"].dropna().iloc[-1])
        accuracies.append(accuracy)
        replicate = Replicate(
            samples=tuple(int(step) * int(curve["batch"].iloc[0]) for step in curve["step"]),
            costs=tuple(-float(value) for value in curve["valid_accuracy"]),
            test_cost=-accuracy,
        )
        configurations.append(Configuration(params={"run": str(run)}, replicates=(replicate,)))
    best = max(accuracies)
    return Task(
        name="peft-metamathqa",
        configurations=tuple(configurations),
        seed_deviation=math.sqrt(best * (1 - best) / TEST_ROWS),
    )
