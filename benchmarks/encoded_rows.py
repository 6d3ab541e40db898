"""Memory and start time of a process with encoded rows: in memory, made into files, and mapped from files.

    python benchmarks/encoded_rows.py --rows 200000 --pairs 3

Each measurement is a process of its own; the ways take turns. Prints the medians and their ratios.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = ("memory", "made", "mapped")


def measure(rows: int, model: str) -> None:
    """Encode made rows, read one batch of each 1,000 rows, and print the seconds and the memory in MB."""
    import datasets

    from orchestrator.assets.tokens import load_tokenizer
    from orchestrator.core.data import Origin, Source
    from orchestrator.objective.encoded_rows import lengths_of
    from orchestrator.objective.loading import load_objective
    from orchestrator.training.data.encoding import Encoder

    draw = random.Random(0)
    words = [f"word{number}" for number in range(3000)]
    texts = [" ".join(draw.choices(words, k=draw.randrange(10, 60))) for _ in range(rows)]
    data = datasets.Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(rows)]})
    del texts
    tokenizer = load_tokenizer(Source(origin=Origin.PACKAGED, name=model))
    tokenizer(["warm"])
    began = time.perf_counter()
    examples = Encoder(load_objective("sentiment"), tokenizer).encode(data, 128)
    lengths = lengths_of(examples)
    ready = time.perf_counter() - began
    for start in range(0, rows, 1000):
        _ = examples[start : start + 16]
    batches = time.perf_counter() - began - ready
    measured = {"start_s": ready, "private_mb": _private_mb(), "batches_s": batches, "tokens": sum(lengths)}
    print(json.dumps(measured))


def _private_mb() -> float:
    """Return the memory of this process alone, without files shared with other processes, in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


def main() -> None:
    """Measure all ways in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--measure", action="store_true", help="one measurement in this process")
    given = parser.parse_args()
    if given.measure:
        measure(given.rows, given.model)
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(given.pairs):
        with tempfile.TemporaryDirectory() as folder:
            for way in WAYS:
                limit = "0" if way == "memory" else "20"
                environment = {**os.environ, "LORATORY_TOKENS": folder, "LORATORY_TOKENS_GB": limit}
                command = [sys.executable, __file__, "--measure", "--rows", str(given.rows), "--model", given.model]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(way, found[way][-1], flush=True)
    for name in ("start_s", "private_mb", "batches_s"):
        values = {way: statistics.median(each[name] for each in found[way]) for way in WAYS}
        ratio = statistics.median(a[name] / b[name] for a, b in zip(found["memory"], found["mapped"], strict=True))
        print(f"{name}: " + ", ".join(f"{way} {value:.2f}" for way, value in values.items()) + f"; ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
