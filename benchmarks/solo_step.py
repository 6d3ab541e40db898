"""One training step of the packaged encoder with LoRA: number format, attention and dropout, in interleaved rounds.

    python -m benchmarks.solo_step THREADS [ROUNDS]

Prints milliseconds per step (median) and the ratio to float32 with fused attention and torch's dropout.
"""

import statistics
import sys
import time
from collections.abc import Callable
from itertools import product

import torch
from transformers import AutoModelForSequenceClassification

from orchestrator.assets.tokens import load_tokenizer
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.evaluation.measure import forward
from orchestrator.objective.loading import load_objective
from orchestrator.training.data.order import data_order
from orchestrator.training.data.task_data import TaskData
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import Base, load_base
from orchestrator.training.model.quiet import quiet_libraries
from orchestrator.training.optimiser import build_optimiser
from orchestrator.training.solo.dropout import use_fast_dropout

MODEL = Source(origin=Origin.PACKAGED, name="minilm")
SETTINGS = TrialSettings(rank=16, dropout=0.05, max_length=64, batch_size=16, learning_rate=3e-4)
OBJECTIVE = load_objective("sentiment")
FORMATS = ("float32", "bfloat16 products", "bfloat16 base and products")


def build(number_format: str, attention: str, dropout: str) -> Callable[[dict[str, torch.Tensor]], None]:
    base: Base = load_base(MODEL, OBJECTIVE, "cpu")
    if attention != "eager":
        assert base.model.name_or_path is not None
        with quiet_libraries():
            other = AutoModelForSequenceClassification.from_pretrained(
                base.model.name_or_path, num_labels=2, attn_implementation=attention, dtype=torch.float32
            )
        base = Base(model=other, fresh_modules=base.fresh_modules, revision=None)
    model = adapt(base, SETTINGS, OBJECTIVE.head).model.train()
    if dropout == "16 bits":
        use_fast_dropout(model)
    if number_format == "bfloat16 base and products":
        for parameter in model.parameters():
            if not parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    optimiser = build_optimiser(model, SETTINGS)

    def step(batch: dict[str, torch.Tensor]) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=number_format != "float32"):
            logits = forward(model, batch)
        loss_sum_B, units_B = OBJECTIVE.losses(logits, batch)
        loss = loss_sum_B.sum() / units_B.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return step


def main() -> None:
    threads, rounds = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 24
    torch.set_num_threads(threads)
    plan = DataPlan(source=Source(origin=Origin.PACKAGED, name="vader-movie"), train=1000, validation=2, test=2)
    data = TaskData(OBJECTIVE, plan, load_tokenizer(MODEL))
    rows = data.split("train", 64)
    order = data_order([len(row["input_ids"]) for row in rows], 16, 8, seed=0)
    batches = [OBJECTIVE.collate([rows[row] for row in update], data.tokenizer) for update in order]
    steps = {names: build(*names) for names in product(FORMATS, ("sdpa", "eager"), ("torch's", "16 bits"))}
    for step, batch in product(steps.values(), batches):  # the first use of a shape compiles its kernels
        step(batch)
    times: dict[tuple[str, str, str], list[float]] = {names: [] for names in steps}
    for turn in range(rounds):
        for names, step in steps.items():
            began = time.perf_counter()
            step(batches[turn % len(batches)])
            times[names].append(time.perf_counter() - began)
    reference = statistics.median(times[FORMATS[0], "sdpa", "torch's"])
    for names, found in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(found)
        print(f"{' · '.join(names):58s} {middle * 1000:6.0f} ms   {middle / reference:.2f}")


if __name__ == "__main__":
    main()
