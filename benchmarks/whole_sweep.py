"""Whole wall time of the same trials: plain Ray Tune + transformers.Trainer + peft, and this project's engines.

    python -m benchmarks.whole_sweep [--configurations 16] [--rows 2000] [--epochs 2] [--batch-size 16] [--only NAME] …

Variants, each in processes of its own, start-up included, one after another, ROUNDS times:

    plain     Ray Tune, a process for each trial, one thread each, two at once: float32, random batches, fused attention
    tuned     the same with bfloat16, batches of like lengths and eager attention, the fastest here
    search    `Trainer.hyperparameter_search` with Optuna, as people use it: one after another, on all cores
    solo      `python -m orchestrator sweep`, solo engine, two at once
    packed    the same with the packed engine, as many at once as it measures to pay
    asha      packed, with asha

All train the same configurations on the same rows for the same number of updates, LoRA dropout included (the base's own
is 0.1), and measure the validation rows after each epoch; this project also writes MLflow, checkpoints and a report,
and tests the best adapter. Prints seconds, the best validation accuracy, and for this project each report's time and
accuracy: from those of `asha` it can be read when it was as good as the best of `plain`.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.environment import prepare, usable_cores
from orchestrator.objective.loading import load_objective
from orchestrator.search.ledger import Ledger

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import Trainer

ROOT = Path(__file__).parent.parent
MODEL = Source(origin=Origin.PACKAGED, name="minilm")
VALIDATION, MAX_LENGTH = 500, 64
VARIANTS = ("plain", "tuned", "search", "solo", "packed", "asha")


def configurations(count: int, batch_size: int) -> list[dict[str, Any]]:
    """Return the trials, the same in every call."""
    draw = random.Random(0)
    return [
        {
            "learning_rate": round(10 ** draw.uniform(-4, -2.6), 6),
            "rank": draw.choice([4, 8, 16, 32]),
            "dropout": draw.choice([0.0, 0.05, 0.1]),
            "batch_size": batch_size,
        }
        for _ in range(count)
    ]


def plain_trainer(config: dict[str, Any] | None, *, rows: str, base: str, epochs: int, tuned: bool) -> "Trainer":
    """Return the Trainer that one would write by hand for a configuration; None: the search's own, by trial number."""
    from datasets import Dataset
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(base)
    splits = {
        name: Dataset.from_list(part).map(
            lambda row: tokenizer(row["text"], truncation=True, max_length=MAX_LENGTH), remove_columns=["text"]
        )
        for name, part in json.loads(Path(rows).read_text()).items()
    }
    arguments = TrainingArguments(
        tempfile.mkdtemp(),
        per_device_eval_batch_size=32,
        num_train_epochs=epochs,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        report_to=[],
        use_cpu=True,
        bf16=tuned,
        disable_tqdm=True,
        train_sampling_strategy="group_by_length" if tuned else "random",
        **({} if config is None else named(config)),
    )
    return Trainer(
        None if config is None else adapted(config, base, tuned=tuned),
        arguments,
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())},
        model_init=None if config is not None else lambda trial: adapted(CHOSEN[trial.number if trial else 0], base),
    )


def named(config: dict[str, Any]) -> dict[str, Any]:
    """Return what of a configuration the Trainer takes, by its names."""
    return {"learning_rate": config["learning_rate"], "per_device_train_batch_size": config["batch_size"]}


def adapted(config: dict[str, Any], base: str, *, tuned: bool = False) -> "PeftModel":
    """Return the base with a new adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    attention = "eager" if tuned else "sdpa"
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, attn_implementation=attention)
    adapter = LoraConfig(
        r=config["rank"],
        lora_alpha=32,
        lora_dropout=config["dropout"],
        target_modules="all-linear",
        task_type="SEQ_CLS",
    )
    return get_peft_model(model, adapter)


CHOSEN: list[dict[str, Any]] = []
"""The configurations of `search`, by Optuna's trial number."""


def search(trials: list[dict[str, Any]], rows: Path, epochs: int) -> float:
    """Run the trials with ``Trainer.hyperparameter_search`` and Optuna, and return the best validation accuracy."""
    CHOSEN[:] = trials
    trainer = plain_trainer(None, rows=str(rows), base=str(resolve_model(MODEL)), epochs=epochs, tuned=False)
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: named(CHOSEN[trial.number]),
        compute_objective=lambda metrics: metrics["eval_accuracy"],
        n_trials=len(trials),
        direction="maximize",
        backend="optuna",
    )
    return float(best.objective)


def train_plainly(config: dict[str, Any], *, rows: str, base: str, epochs: int, tuned: bool) -> None:
    """Train one trial as its function would be written by hand; reports to Tune after each epoch."""
    import torch
    from ray import tune
    from transformers import TrainerCallback

    class Report(TrainerCallback):
        def on_evaluate(self, *_: object, metrics: dict[str, float], **__: object) -> None:
            tune.report({"accuracy": metrics["eval_accuracy"]})

    torch.set_num_threads(1)
    trainer = plain_trainer(config, rows=rows, base=base, epochs=epochs, tuned=tuned)
    trainer.add_callback(Report())
    trainer.train()


def plain(trials: list[dict[str, Any]], rows: Path, epochs: int, *, tuned: bool) -> float:
    """Run the trials with Tune alone and return the best validation accuracy."""
    import ray
    from ray import tune

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "OMP_NUM_THREADS": "1"}
    ray.init(num_cpus=usable_cores(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    bound = tune.with_parameters(
        train_plainly, rows=str(rows), base=str(resolve_model(MODEL)), epochs=epochs, tuned=tuned
    )
    found = tune.run(
        bound, config=tune.grid_search(trials), resources_per_trial={"cpu": 1}, metric="accuracy", mode="max", verbose=0
    )
    ray.shutdown()
    return max(float(trial.metric_analysis["accuracy"]["max"]) for trial in found.trials)


def ours(name: str, trials: list[dict[str, Any]], count: int, epochs: int, folder: Path) -> dict[str, Any]:
    """Run the trials as a sweep in a folder of its own; return the best validation accuracy and when it grew."""
    stopping = {"rule": "asha", "reports": 4, "reduction_factor": 4, "cohort": 4}
    sweep = {
        "name": "whole",
        "objective": "sentiment",
        "model": "minilm",
        "data": {
            "source": "vader-movie",
            "train": count,
            "validation": VALIDATION,
            "test": 100,
            "train_eval": 50,
            "max_length": MAX_LENGTH,
        },
        "adapter": {"method": "lora", "alpha": 32, "target_modules": "all-linear"},
        "training": {"epochs": epochs, "batch_size": trials[0]["batch_size"]},
        "search": {
            "metric": "val/accuracy",
            "sampler": {"name": "random"},
            "space": {
                "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
                "rank": {"choices": [4, 8, 16, 32]},
                "dropout": {"choices": [0.0, 0.05, 0.1]},
            },
            "start": [{key: value for key, value in trial.items() if key != "batch_size"} for trial in trials],
        },
        "early_stopping": stopping if name == "asha" else {"rule": "none", "reports": epochs},
        "budget": {"trials": len(trials)},
        "resources": {"engine": "solo", "parallel_trials": 2, "cpus_per_trial": 1}
        if name == "solo"
        else {"engine": "packed"},
        "tracking": {"keep_adapters": 1},
        "seed": 1,
    }
    file = folder / "whole.yaml"
    file.write_text(yaml.safe_dump(sweep))
    homes = {"LORATORY_HOME": str(folder / "home"), "LORATORY_MLFLOW_DIR": str(folder / "mlflow")}
    command = [sys.executable, "-m", "orchestrator", "sweep", str(file), "--json"]
    began = time.time()
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **homes}, capture_output=True, text=True, check=True)
    board = json.loads(done.stdout)["leaderboard"]
    ledger = Ledger.open(f"sqlite:///{folder / 'home' / 'ledger.db'}")
    records = ledger.records(ledger.find("whole").id)
    grown = sorted((one.ended_at - began, one.metrics["val/accuracy"]) for each in records for one in each.reports)
    return {"best": max(row["score"] for row in board if row["score"] is not None), "grown": grown}


def main(
    configurations_: Annotated[int, typer.Option("--configurations")] = 16,
    rows: int = 2000,
    epochs: int = 2,
    batch_size: int = 16,
    rounds: int = 1,
    only: Annotated[list[str] | None, typer.Option()] = None,
) -> None:
    """Measure and print."""
    prepare()
    trials = configurations(configurations_, batch_size)
    data = DataPlan(
        source=Source(origin=Origin.PACKAGED, name="vader-movie"), train=rows, validation=VALIDATION, test=100
    )
    splits = load_objective("sentiment").splits(data)
    for number in range(rounds):
        for name in only or VARIANTS:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "rows.json"
                parts = {"train": splits.train, "validation": splits.validation}
                file.write_text(json.dumps({key: [*part] for key, part in parts.items()}))
                began = time.perf_counter()
                if name in {"plain", "tuned"}:
                    found: dict[str, Any] = {"best": plain(trials, file, epochs, tuned=name == "tuned")}
                elif name == "search":
                    found = {"best": search(trials, file, epochs)}
                else:
                    found = ours(name, trials, rows, epochs, Path(folder))
                spent = time.perf_counter() - began
            line = f"round {number} {name:8s} {spent:7.1f} s   best validation accuracy {found['best']:.4f}"
            print(line, [f"{at:.0f} s {value:.4f}" for at, value in found.get("grown", [])], flush=True)


if __name__ == "__main__":
    typer.run(main)
