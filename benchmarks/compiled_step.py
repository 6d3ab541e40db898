"""Does ``torch.compile`` pay? Steps of the solo engine's model, eager and compiled, in interleaved pairs.

    python -m benchmarks.compiled_step [--threads 2] [--rounds 3] [--batches 8]

MiniLM with LoRA on movie sentences, batches of 16 rows and of different lengths. Prints for each number format the
median ratio of a compiled step's processor time to an eager one's, the seconds that compiling costs each trial, and the
number of steps after which they are won back.
"""

import statistics
import time
from collections.abc import Callable

import torch
import typer

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.evaluation.measure import forward
from orchestrator.objective.loading import load_objective
from orchestrator.training.data.order import data_order
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.optimiser import build_optimiser

MODEL = Source(origin=Origin.PACKAGED, name="minilm")
OBJECTIVE = load_objective("sentiment")
SETTINGS = TrialSettings(rank=16, dropout=0.05, max_length=64, batch_size=16, learning_rate=3e-4)

Step = Callable[[dict[str, torch.Tensor]], None]


def build(half: bool, compiled: bool) -> Step:
    """Return a training step of a new model, with bfloat16 products if ``half``."""
    model = adapt(load_base(MODEL, OBJECTIVE, "cpu"), SETTINGS, OBJECTIVE.head).model.train()
    optimiser = build_optimiser(model, SETTINGS)
    if compiled:
        model.compile(dynamic=True)

    def step(batch: dict[str, torch.Tensor]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = forward(model, batch)
        loss_sum_B, units_B = OBJECTIVE.losses(logits, batch)
        (loss_sum_B.sum() / units_B.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def seconds(step: Step, batch: dict[str, torch.Tensor]) -> float:
    """Return the processor time of a step: other work on the machine disturbs it least."""
    began = time.process_time()
    step(batch)
    return time.process_time() - began


def main(threads: int = 2, rounds: int = 3, batches: int = 8) -> None:
    """Measure and print."""
    torch.set_num_threads(threads)
    plan = DataPlan(source=Source(origin=Origin.PACKAGED, name="vader-movie"), train=1000, validation=2, test=2)
    data = TaskData(OBJECTIVE, plan, load_tokenizer(MODEL))
    rows = data.split("train", 16 * batches)
    order = data_order([len(row["input_ids"]) for row in rows], 16, batches, seed=0)
    work = [OBJECTIVE.collate([rows[row] for row in update], data.tokenizer) for update in order]
    for half in (False, True):
        eager, compiled = build(half, compiled=False), build(half, compiled=True)
        warm_up = sum(seconds(eager, batch) for batch in work)
        began = time.perf_counter()
        for batch in work:
            compiled(batch)
        compiling = time.perf_counter() - began - warm_up
        pairs = [(seconds(eager, batch), seconds(compiled, batch)) for _ in range(rounds) for batch in work]
        ratio = statistics.median(fast / plain for plain, fast in pairs)
        saved = statistics.median(plain - fast for plain, fast in pairs)
        even = f"after {compiling / saved:,.0f} steps" if saved > 0 else "never"
        typer.echo(
            f"{'bfloat16 products' if half else 'float32':18s} a compiled step takes {ratio:.2f} of an eager one "
            f"({statistics.median(plain for plain, _ in pairs) * 1000:.0f} ms); compiling takes {compiling:.0f} s, "
            f"won back {even}"
        )


if __name__ == "__main__":
    typer.run(main)
