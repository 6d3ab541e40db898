"""Memory and start time of a process with encoded rows: in memory, made into files, and mapped from files.

    python benchmarks/encoded_rows.py --rows 200000 --pairs 3
    python benchmarks/encoded_rows.py --task chat --model smollm2 --rows 100000 --pairs 1

Each measurement is a process of its own; the ways take turns. Prints the medians and their ratios. ``sentiment``
encodes rows that are in memory; ``chat`` reads, converts and splits a made file of conversations first, and encodes
at most 10,000 of them. The peak is that of the memory without files, read every 50 ms.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets

    from orchestrator.objective.protocol import Objective

WAYS = ("memory", "made", "mapped")
TASKS = ("sentiment", "chat")
FIGURES = ("rows_s", "start_s", "batches_s", "private_mb", "peak_mb")
_WORDS = ("the", "of", "and", "to", "in", "is", "it", "was", "for", "on", "that", "with", "he", "as", "by", "at", "be")


def measure(task: str, source: Path, model: str, count: int) -> None:
    """Read and encode rows, read one batch of each 1,000 rows, and print the seconds and the memory in MB."""
    from orchestrator.assets.tokens import load_tokenizer
    from orchestrator.core.data import Origin, Source
    from orchestrator.objective.loading import load_objective
    from orchestrator.objective.rows.encoded_rows import lengths_of
    from orchestrator.training.data.encoding import Encoder

    objective = load_objective(task)
    tokenizer = load_tokenizer(Source(origin=Origin.PACKAGED, name=model))
    tokenizer(["warm"])
    with _peak() as peak:
        began = time.perf_counter()
        rows = _sentences(count) if task == "sentiment" else _conversations(objective, source, count)
        read = time.perf_counter()
        examples = Encoder(objective, tokenizer).encode(rows, 256 if task == "chat" else 128)
        lengths = lengths_of(examples)
        ready = time.perf_counter()
        for start in range(0, len(examples), 1000):
            _ = examples[start : start + 16]
        batches = time.perf_counter()
    measured = {"rows_s": read - began, "start_s": ready - read, "batches_s": batches - ready}
    print(json.dumps(measured | {"private_mb": _private_mb(), "peak_mb": max(peak), "tokens": sum(lengths)}))


def _sentences(count: int) -> "datasets.Dataset":
    import datasets

    draw = random.Random(0)
    words = [f"word{number}" for number in range(3000)]
    texts = [" ".join(draw.choices(words, k=draw.randrange(10, 60))) for _ in range(count)]
    return datasets.Dataset.from_dict({"text": texts, "label": [row % 2 for row in range(count)]})


def _conversations(objective: "Objective", source: Path, count: int) -> "datasets.Dataset":
    from orchestrator.core.data import DataPlan, Origin, Source

    held = min(1_000, count // 4)
    train = min(10_000, count - 2 * held)
    plan = DataPlan(source=Source(origin=Origin.LOCAL, name=str(source)), train=train, validation=held, test=held)
    return objective.splits(plan).train


def _write_conversations(path: Path, count: int) -> None:
    """Write conversations of about 800 bytes and 240 tokens."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for row in range(count):
            question, answer = (" ".join(draw.choices(_WORDS, k=draw.randrange(90, 120))) for _ in range(2))
            turns = [("user", f"{row} {question}"), ("assistant", answer)]
            messages = [{"role": role, "content": content} for role, content in turns]
            file.write(json.dumps({"messages": messages}) + "\n")


def _private_mb() -> float:
    """Return the memory of this process alone, without files shared with other processes, in MB."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


@contextmanager
def _peak() -> Iterator[list[float]]:
    """Yield a list that gets the memory of this process without files, in MB, while the block runs."""
    found, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            found.append(int(status.partition("RssAnon:")[2].split()[0]) / 1000)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Measure all ways in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default=TASKS[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--source", type=Path, help="one measurement in this process, with this file")
    given = parser.parse_args()
    if given.source is not None:
        measure(given.task, given.source, given.model, given.rows)
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(given.pairs):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "rows.jsonl"
            _write_conversations(source, given.rows if given.task == "chat" else 0)
            for way in WAYS:
                limit = "0" if way == "memory" else "20"
                environment = {**os.environ, "LORATORY_TOKENS": f"{folder}/tokens", "LORATORY_TOKENS_GB": limit}
                options = ["--task", given.task, "--rows", str(given.rows), "--model", given.model]
                command = [sys.executable, __file__, *options, "--source", str(source)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
                print(way, found[way][-1], flush=True)
    for name in FIGURES:
        values = {way: statistics.median(each[name] for each in found[way]) for way in WAYS}
        ratio = statistics.median(a[name] / b[name] for a, b in zip(found["memory"], found["mapped"], strict=True))
        print(f"{name}: " + ", ".join(f"{way} {value:.2f}" for way, value in values.items()) + f"; ratio {ratio:.1f}")


if __name__ == "__main__":
    main()
