"""One training step with and without ``torch.compile``, in interleaved pairs, as the solo engine would compile it.

    python -m benchmarks.compiled_step MODEL THREADS [UPDATES]

MODEL is ``minilm`` (packaged) or the folder of a small encoder. Every trial of a sweep builds a new model, so each pays
for its own compilations. The rows have the lengths of the data set, and batches are padded to their longest row.
Prints the seconds of the compiled first pass over all shapes, the number of compiled graphs, the median of the ratios
of a compiled step to a plain one, and the steps after which compilation has paid.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch._dynamo.utils import counters

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
from orchestrator.training.solo.dropout import use_fast_dropout

SETTINGS = TrialSettings(rank=16, dropout=0.05, max_length=64, batch_size=16, learning_rate=3e-4)
OBJECTIVE = load_objective("sentiment")


def build(source: Source, *, compiled: bool) -> Callable[[dict[str, torch.Tensor]], None]:
    """Return a training step; the model is compiled in place if ``compiled``."""
    torch.manual_seed(0)
    model = adapt(load_base(source, OBJECTIVE, "cpu"), SETTINGS, OBJECTIVE.head).model.train()
    use_fast_dropout(model)
    if compiled:
        model.compile()
    optimiser = build_optimiser(model, SETTINGS)

    def step(batch: dict[str, torch.Tensor]) -> None:
        loss_sum_B, units_B = OBJECTIVE.losses(forward(model, batch), batch)
        (loss_sum_B.sum() / units_B.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def seconds(step: Callable[[dict[str, torch.Tensor]], None], batch: dict[str, torch.Tensor]) -> float:
    """Return the seconds of one step."""
    began = time.perf_counter()
    step(batch)
    return time.perf_counter() - began


def main() -> None:
    name, threads = sys.argv[1], int(sys.argv[2])
    updates = int(sys.argv[3]) if len(sys.argv) > 3 else 16
    torch.set_num_threads(threads)
    packaged = name == "minilm"
    source = Source(origin=Origin.PACKAGED if packaged else Origin.LOCAL, name=name)
    plan = DataPlan(source=Source(origin=Origin.PACKAGED, name="vader-movie"), train=1000, validation=2, test=2)
    data = TaskData(OBJECTIVE, plan, load_tokenizer(source))
    rows = data.split("train", SETTINGS.max_length)
    order = data_order([len(row["input_ids"]) for row in rows], 16, updates, seed=0)
    batches = [OBJECTIVE.collate([rows[row] for row in update], data.tokenizer) for update in order]
    plain, compiled = (build(source, compiled=each) for each in (False, True))
    for batch in batches:
        plain(batch)
    first = sum(seconds(compiled, batch) for batch in batches)
    graphs = counters["stats"]["unique_graphs"]
    pairs = [(seconds(compiled, batch), seconds(plain, batch)) for batch in batches]
    ratio = statistics.median(one / other for one, other in pairs)
    usual = statistics.median(other for _, other in pairs)
    saved = (1.0 - ratio) * usual
    pays = f"after {(first - usual * updates) / saved:,.0f} steps" if saved > 0 else "never"
    print(f"first pass over {updates} batches: {first:.0f} s compiled, about {usual * updates:.1f} s plain")
    print(f"compiled graphs: {graphs}; a compiled step takes {ratio:.2f} of a plain one; compilation pays {pays}")


if __name__ == "__main__":
    main()
