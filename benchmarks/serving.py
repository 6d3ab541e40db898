"""Load on loopback: one server with N adapters over MiniLM against one process per adapter.

    python -m benchmarks.serving [--adapters 8] [--clients 16] [--rounds 4] [--seconds 4]

Each request has one sentence of a film review and names a random adapter. The clients wait for each answer before the
next request. The variants are measured in turn, and the ratios are those of one round. Threads: torch's products run in
one thread for each rival process, and in one for each core in the servers.

Other work on the machine distorts the rate and the latencies: eight processes get more of the cores than one. The
processor time per request depends on it much less.
"""

import argparse
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.objective.loading import load_objective
from orchestrator.tracking.logged_models.adapters import AdapterCard
from orchestrator.tracking.logged_models.staging import stage_adapter

MODEL = Source(origin=Origin.PACKAGED, name="minilm")
LABELS = ("negative", "positive")
RANKS = (4, 8, 16, 8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """The addresses by adapter, and the processes."""

    ports: Mapping[str, int]
    processes: Sequence["subprocess.Popen[bytes]"]

    def memory_mib(self) -> float:
        """Return the memory of all processes; pages shared by n processes count 1/n in each."""
        return sum(psutil.Process(each.pid).memory_full_info().pss for each in self.processes) / 2**20

    def cpu_s(self) -> float:
        """Return the processor time of all processes so far, in seconds."""
        times = [psutil.Process(each.pid).cpu_times() for each in self.processes]
        return sum(each.user + each.system for each in times)


def adapters(folder: Path, count: int) -> dict[str, Path]:
    """Write adapters with random weights; values do not matter for the speed."""
    base, found = resolve_model(MODEL), {}
    for number in range(count):
        torch.manual_seed(number)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(LABELS))
        config = LoraConfig(task_type="SEQ_CLS", r=RANKS[number % len(RANKS)], target_modules="all-linear")
        get_peft_model(model, config).save_pretrained(str(folder / f"raw-{number}"))
        card = AdapterCard(
            base=MODEL,
            base_path=base,
            head="sequence_classification",
            labels=LABELS,
            max_length=64,
            objective="sentiment",
            sweep="benchmark#1",
            sweep_key="0" * 16,
            trial=number,
            samples=1,
            measured_at=0.0,
        )
        found[f"a{number}"] = stage_adapter(folder / f"raw-{number}", card, folder / f"a{number}")
    return found


started: list["subprocess.Popen[bytes]"] = []
"""Every process of the benchmark; all end with it."""


def shared(folders: Mapping[str, Path], *options: str) -> Variant:
    command = [sys.executable, "-m", "orchestrator", "serve", *map(str, folders.values()), *options]
    command += ["--port", "0", "--json", "--rate", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    started.append(process)
    assert process.stdout is not None
    text = b""
    while not text or text.count(b"{") != text.count(b"}"):
        line = process.stdout.readline()
        assert line, "the server ended"
        text += line
    port = int(json.loads(text)["url"].rpartition(":")[2])
    return Variant(ports=dict.fromkeys(folders, port), processes=[process])


def separate(folders: Mapping[str, Path]) -> Variant:
    ports, processes = {}, []
    for name, folder in folders.items():
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        ports[name] = listener.getsockname()[1]
        command = [sys.executable, "-m", "benchmarks.plain_server", str(folder), str(listener.fileno())]
        processes.append(
            subprocess.Popen(
                command,
                pass_fds=[listener.fileno()],
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stderr=subprocess.DEVNULL,
            )
        )
        started.append(processes[-1])
        listener.close()
    for port in ports.values():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
    return Variant(ports=ports, processes=processes)


def load(variant: Variant, texts: Sequence[str], clients: int, seconds: float, seed: int) -> list[float]:
    """Return the latencies in seconds of all requests answered within ``seconds``."""
    latencies: list[float] = []
    failures: list[Any] = []
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        draw = random.Random(f"{seed} {number}")
        connections = {
            port: http.client.HTTPConnection("127.0.0.1", port, timeout=60) for port in {*variant.ports.values()}
        }
        while time.perf_counter() < end and not failures:
            name = draw.choice([*variant.ports])
            body = {"texts": [draw.choice(texts)]} | ({"model": name} if len(connections) == 1 else {})
            started = time.perf_counter()
            connection = connections[variant.ports[name]]
            connection.request("POST", "/predict", json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            latencies.append(time.perf_counter() - started)
            if response.status != 200:
                failures.append(answer)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return latencies


def review_sentences() -> list[str]:
    plan = DataPlan(source=Source(origin=Origin.PACKAGED, name="vader-movie"), train=1000, validation=2, test=2)
    rows = load_objective("sentiment").splits(plan).train
    return [str(row["text"]) for row in rows]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """One variant under load, for some seconds."""

    latencies: Sequence[float]
    seconds: float
    cpu_s: float

    def figures(self) -> tuple[float, float, float, float]:
        """Return requests/s, p50 and p99 in ms, and processor time per request in ms."""
        ordered = sorted(self.latencies)
        p50, p99 = (1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.99))
        return len(ordered) / self.seconds, p50, p99, 1000 * self.cpu_s / len(ordered)


def measure(variant: Variant, texts: Sequence[str], given: argparse.Namespace, seed: int) -> Round:
    before, started = variant.cpu_s(), time.perf_counter()
    latencies = load(variant, texts, given.clients, given.seconds, seed)
    return Round(latencies=latencies, seconds=time.perf_counter() - started, cpu_s=variant.cpu_s() - before)


def show(results: Mapping[str, Sequence[Round]], variants: Mapping[str, Variant]) -> None:
    names = ("requests/s", "p50 ms", "p99 ms", "CPU ms/request")
    first = next(iter(results))
    for variant, rounds in results.items():
        print(f"{variant}: {variants[variant].memory_mib():.0f} MiB, {sum(len(r.latencies) for r in rounds)} requests")
        pairs = [(own.figures(), other.figures()) for own, other in zip(rounds, results[first], strict=True)]
        for position, name in enumerate(names):
            ratios = sorted(own[position] / other[position] for own, other in pairs)
            print(
                f"  {name:<16}{statistics.median(own[position] for own, _ in pairs):>8.1f}   "
                f"{statistics.median(ratios):.2f} times the first variant ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("adapters", 8), ("clients", 16), ("rounds", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    texts = review_sentences()
    variants: dict[str, Variant] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LORATORY_HOME"] = folder
        folders = adapters(Path(folder), given.adapters)
        try:
            variants["one process per adapter"] = separate(folders)
            variants["serve, batches"] = shared(folders)
            variants["serve, --batch-rows 1"] = shared(folders, "--batch-rows", "1", "--batch-wait", "0")
            results: dict[str, list[Round]] = {name: [] for name in variants}
            for variant in variants.values():
                load(variant, texts, given.clients, given.seconds / 2, seed=-1)
            for turn in range(given.rounds):
                for name, variant in variants.items():
                    results[name].append(measure(variant, texts, given, turn))
            show(results, variants)
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(timeout=60)


if __name__ == "__main__":
    main()
