"""Do batches of like lengths cost quality? The same trials in this order and in any order, over several seeds.

    python -m benchmarks.order [--seeds 8] [--rows 2000] [--epochs 1] [--threads 2]

As `precision`, over the number format that the hardware is fast at: every seed trains once as shipped, where rows of
like lengths are trained together, and once on batches that are drawn from an epoch's rows at random, which takes twice
the padding. Prints both last checkpoints' validation loss and accuracy, and how far the means are apart.
"""

import time

import typer

from benchmarks.precision import compared, trained
from orchestrator.core.environment import prepare, usable_cores
from orchestrator.core.plan import Precision
from orchestrator.training import order


def main(seeds: int = 8, rows: int = 2000, epochs: float = 1.0, threads: int = usable_cores()) -> None:
    """Train and print."""
    prepare()
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name, window in (("like lengths", order.WINDOW), ("any order", 1)):
        order.WINDOW = window  # a window of one update is a batch as it was drawn
        began = time.perf_counter()
        found[name] = trained(Precision.AUTO, seeds, rows, epochs, threads)
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    compared(found)


if __name__ == "__main__":
    typer.run(main)
