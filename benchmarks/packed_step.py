"""Training speed and memory of the packed engine against the solo engine, in interleaved rounds.

    python -m benchmarks.packed_step [--batch-size 16] [--dropout 0.1] [--slots 1 --slots 4 --slots 8] [--rounds 3]
    python -m benchmarks.packed_step --quantisation nf4
    python -m benchmarks.packed_step --model llama-tiny --sequence 32 --batch-size 2 --slots 4 --rounds 1 --updates 2
    python -m benchmarks.packed_step --device cuda --processes 4
    python -m benchmarks.packed_step --device cuda --model llama-1b --sequence 512 --batch-size 1 --processes 2

Variants: one solo trial; with ``--processes N`` also N solo trials at the same time, a process each; packs of SLOTS
trials. Each variant has processes of its own, and the variants run one after another, round after round.

Bases: MiniLM (22.7M) on movie sentences; a Llama of 1.04 billion random weights (hidden 2,048, 16 layers of 8,192, 32
heads with 8 shared keys, vocabulary 32,000) on rows of SEQUENCE random tokens; a tiny Llama, which runs on any machine.

Prints for each variant, as medians over the rounds:

- real tokens per second of all trials together, and the ratio to one solo trial;
- useful operations as a share of the device's matrix-product rate. For each real token 4 × the frozen weights and 6 ×
  the adapter's weights count; the rate is measured in the same rounds, in the number format of training;
- peak memory of its processes: on CUDA memory allocated by torch, otherwise resident memory.
"""

import statistics
import time
from dataclasses import replace
from typing import Annotated, Literal

import torch
import typer

from benchmarks.bases import BaseName, Workload, workload
from benchmarks.worker import Job, Worker, adapter_weights
from orchestrator.core.methods.quantisation import Quantisation, require_package
from orchestrator.core.sweeps.plan import Precision
from orchestrator.core.system.environment import set_environment_defaults, usable_cores
from orchestrator.training.process.hardware import choose_device, dtype_of, number_format


def product_rate(load: Workload, device: str, dtype: torch.dtype) -> float:
    """Return operations per second of a typical product of the layers."""
    rows, inputs, outputs = load.product_NIO
    x_NI, weight_OI = (torch.randn(size, inputs, dtype=dtype, device=device) for size in (rows, outputs))
    for _ in range(3):
        torch.nn.functional.linear(x_NI, weight_OI)
    _wait(device)
    began = time.perf_counter()
    for _ in range(30):
        torch.nn.functional.linear(x_NI, weight_OI)
    _wait(device)
    return 30 * 2 * rows * inputs * outputs / (time.perf_counter() - began)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def variants(job: Job, slots: list[int], processes: int) -> dict[str, list[Worker]]:
    """Start every variant's processes; return them by the variant's name."""
    found = {"solo": [job]}
    if processes > 1:
        found[f"{processes} solo at once"] = [replace(job, threads=max(1, job.threads // processes))] * processes
    found |= {f"pack of {count}": [replace(job, slots=count)] for count in slots}
    return {name: [Worker(each) for each in jobs] for name, jobs in found.items()}


def measured(workers: list[Worker], number: int) -> dict[str, float]:
    """Train one round in all processes at the same time; return the sums of their answers."""
    for worker in workers:
        worker.begin(number)
    answers = [worker.end() for worker in workers]
    return {name: sum(answer[name] for answer in answers) for name in answers[0]}


def run(job: Job, load: Workload, dtype: torch.dtype, slots: list[int], processes: int) -> None:
    """Measure and print. The first round compiles the kernels of every shape and is not counted."""
    workers = variants(job, slots, processes)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
    rates = []
    for number in range(job.rounds):
        rates.append(product_rate(load, job.device, dtype))
        for name, its in [*workers.items()]:
            try:
                found[name].append(measured(its, number))
                print(f"round {number}: {name} {found[name][-1]['tokens_per_s']:,.0f} tokens/s", flush=True)
            except RuntimeError as error:  # the other variants continue
                print(f"{name}: {error}", flush=True)
                for worker in workers.pop(name):
                    worker.close()
    for its in workers.values():
        for worker in its:
            worker.close()
    rate = statistics.median(rates[1:])
    print(f"matrix products in {str(dtype).removeprefix('torch.')}: {rate / 1e9:,.0f} GFLOP/s")
    reference = statistics.median(answer["tokens_per_s"] for answer in found["solo"][1:]) if "solo" in workers else None
    token_operations = 4 * load.frozen_weights + 6 * adapter_weights(job)
    for name in workers:
        report(name, found[name][1:], reference, token_operations, rate)


def report(
    name: str, rounds: list[dict[str, float]], reference: float | None, token_operations: int, rate: float
) -> None:
    speeds = [answer["tokens_per_s"] for answer in rounds]
    middle = statistics.median(speeds)
    useful = token_operations * middle
    print(
        f"{name:16s} {middle:9,.0f} tokens/s ({min(speeds):,.0f} to {max(speeds):,.0f})   "
        f"{'' if reference is None else f'{middle / reference:.2f} × solo   '}{useful / 1e9:8,.1f} GFLOP/s useful, "
        f"{useful / rate:.2f} of the rate   {max(answer['peak_mb'] for answer in rounds):,.0f} MiB   "
        f"{rounds[-1]['most']:.0f} at once"
    )


def main(  # noqa: PLR0913, PLR0917  (the command's options)
    device: Literal["cpu", "cuda"] = "cpu",
    model: BaseName = BaseName.MINILM,
    batch_size: int = 16,
    sequence: int = 512,
    slots: Annotated[list[int] | None, typer.Option()] = None,
    rank: int = 8,
    dropout: float = 0.1,
    quantisation: Annotated[Quantisation | None, typer.Option()] = None,
    rounds: int = 3,
    updates: int = 12,
    processes: int = 1,
) -> None:
    """Measure one base at one batch size."""
    set_environment_defaults()
    threads = usable_cores()
    torch.set_num_threads(threads)
    name = choose_device(device)
    if quantisation is not None:
        require_package(quantisation)
    dtype = dtype_of(number_format(Precision.AUTO, name))
    job = Job(
        base=model.value,
        slots=0,
        rank=rank,
        device=name,
        batch_size=batch_size,
        sequence=sequence,
        dropout=dropout,
        quantisation=None if quantisation is None else quantisation.value,
        threads=threads,
        rounds=rounds + 1,
        updates=updates,
    )
    length = "" if model is BaseName.MINILM else f", rows of {sequence} tokens"
    adapters = f"rank {rank}, LoRA dropout {dropout}"
    print(f"{model} on {name}, batch {batch_size}{length}, {adapters}, {quantisation or 'not quantised'}")
    run(job, workload(model, sequence), dtype, slots or [1, 4, 8], processes)


if __name__ == "__main__":
    typer.run(main)
