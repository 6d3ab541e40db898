"""Training speed of the packed engine against the solo engine, on the packaged encoder, in interleaved rounds.

    python -m benchmarks.packed_step [ROUNDS] [BATCH_SIZE] [DROPOUT] [nf4]

One solo trial with all threads, then packs of 1, 4 and 8 slots, again and again. Prints real tokens per second (median
over the rounds), the ratio to solo, and how much of the machine's own matrix-product rate, measured in the same rounds,
the useful operations come to: 4 × frozen weights of the linear layers × real tokens, adapters left out.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import torch

from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.environment import prepare, usable_cores
from orchestrator.core.plan import EnginePlan, Method
from orchestrator.core.quantisation import Quantisation
from orchestrator.core.settings import TrialSettings
from orchestrator.core.trial import TrialTask
from orchestrator.objective.loading import load_objective
from orchestrator.training.course import Course
from orchestrator.training.engine import TrialRun
from orchestrator.training.packed.engine import PackedEngine
from orchestrator.training.solo import SoloEngine
from orchestrator.training.task_data import TaskData

OBJECTIVE = load_objective("sentiment")
LINEAR_WEIGHTS = 6 * 12 * 384**2
"""MiniLM-L6: four attention and two feed-forward layers of 384 and 1,536 in each of six blocks."""
UPDATES = 12
"""Updates in a round, for each trial."""


def plan(batch_size: int, rounds: int, quantisation: Quantisation | None) -> EnginePlan:
    """Return a plan whose report points are a round apart, with next to nothing to evaluate."""
    source = Source(origin=Origin.PACKAGED, name="vader-movie")
    return EnginePlan(
        objective="sentiment",
        method=Method.LORA,
        model=Source(origin=Origin.PACKAGED, name="minilm"),
        data=DataPlan(source=source, train=2000, validation=16, test=16, train_eval=16, shift={}),
        report_points=tuple(UPDATES * batch_size * number for number in range(1, rounds + 2)),
        sweep_dir=tempfile.mkdtemp(prefix="packed-step-"),
        metric="val/accuracy",
        threads=usable_cores(),
        quantisation=quantisation,
    )


def matmul_rate() -> float:
    """Return operations per second of a product as the layers have it, in bfloat16."""
    x, weight = torch.randn(3456, 384, dtype=torch.bfloat16), torch.randn(1536, 384, dtype=torch.bfloat16)
    torch.nn.functional.linear(x, weight)
    began = time.perf_counter()
    for _ in range(30):
        torch.nn.functional.linear(x, weight)
    return 30 * 2 * x.numel() * weight.shape[0] / (time.perf_counter() - began)


def solo(given: EnginePlan, settings: TrialSettings) -> Callable[[int], float]:
    """Return what trains one more round of one trial, alone, and says how many tokens a second that were."""
    run = SoloEngine(given, OBJECTIVE).start(TrialTask(number=0, settings=settings, seed=0))
    return lambda point: run.advance(point).metrics["speed/tokens_per_s"]


def packed(given: EnginePlan, settings: TrialSettings, slots: int, data: TaskData) -> Callable[[int], float]:
    """Return the same for as many trials in one pack; evaluation is left out of the time."""
    engine = PackedEngine(given, OBJECTIVE)
    tasks = [TrialTask(number=100 * slots + slot, settings=settings, seed=slot) for slot in range(slots)]
    runs = [engine.start(task) for task in tasks]
    courses = [Course.of(data, task, given.report_points) for task in tasks]

    def round_of(point: int) -> float:
        wanted: dict[TrialRun, int] = dict.fromkeys(runs, point)
        spent_s = 0.0
        while wanted:
            for run, report in engine.step(wanted).items():
                if isinstance(report, Exception):
                    raise report
                spent_s += report.metrics["time/train_s"]
                del wanted[run]
        before = point - given.report_points[0]
        tokens = sum(c.tokens[c.due[point]] - (c.tokens[c.due[before]] if before else 0) for c in courses)
        return tokens / spent_s

    return round_of


def main() -> None:
    """Measure and print."""
    rounds, batch_size = (int(value) for value in (sys.argv[1:3] + ["5", "16"][len(sys.argv[1:3]) :]))
    dropout = float(sys.argv[3]) if len(sys.argv) > 3 else 0.1
    prepare()
    torch.set_num_threads(usable_cores())
    settings = TrialSettings(rank=8, batch_size=batch_size, dropout=dropout, max_length=64, learning_rate=1e-3)
    quantisation = Quantisation(sys.argv[4]) if len(sys.argv) > 4 else None
    given = plan(batch_size, rounds, quantisation)
    data = SoloEngine(given, OBJECTIVE).data
    variants = {"solo, all threads": solo(given, settings)}
    variants |= {f"pack of {slots}": packed(given, settings, slots, data) for slots in (1, 4, 8)}
    found: dict[str, list[float]] = {name: [] for name in variants}
    rates = []
    for number, point in enumerate(given.report_points):
        rates.append(matmul_rate())
        for name, train in variants.items():
            speed = train(point)
            if number:  # the first round compiles the kernels of every shape
                found[name].append(speed)
    rate, reference = statistics.median(rates), statistics.median(found["solo, all threads"])
    label = quantisation or "plain"
    print(f"matrix products in bfloat16: {rate / 1e9:.0f} GFLOP/s; batch {batch_size}, LoRA dropout {dropout}, {label}")
    for name, speeds in found.items():
        middle = statistics.median(speeds)
        useful = 4 * LINEAR_WEIGHTS * middle
        print(
            f"{name:20s} {middle:6.0f} tokens/s ({min(speeds):.0f} to {max(speeds):.0f})   {middle / reference:.2f}   "
            f"{useful / 1e9:4.0f} GFLOP/s useful, {useful / rate:.2f} of the rate"
        )


if __name__ == "__main__":
    main()
