"""Whole wall time of the same trials: plain Ray Tune + transformers.Trainer + peft, and this project's engines.

    python -m benchmarks.whole_sweep [--configurations 16] [--rows 2000] [--epochs 2] [--batch-size 16]
        [--validation 1000] [--only NAME] …
    python -m benchmarks.whole_sweep --device cuda --at-once 4

Variants, each in processes of its own, start-up included, one after another, ROUNDS times:

    plain       Ray Tune, a process for each trial, AT_ONCE (2) at once on shared cores and, on CUDA, a shared GPU:
                float32, random batches, fused attention
    tuned       the same in bfloat16 on hardware with fast bfloat16, with batches of similar lengths and the fastest
                attention: eager on a CPU, fused on CUDA
    plain-asha  the first with Tune's ASHA, four reports a trial
    search      `Trainer.hyperparameter_search` with Optuna in its usual form: one after another, on all cores
    solo        `python -m orchestrator sweep`, solo engine, AT_ONCE at once
    packed      the same with the packed engine, which measures its best size
    asha        packed, with asha

All train the same configurations on the same rows for the same number of updates, LoRA dropout included (the base's own
is 0.1), and measure the validation rows after each epoch, with ASHA four times a trial; this project also writes
MLflow, checkpoints and a report, and tests the best adapter. Prints seconds, each trial's best validation accuracy, and
for this project each report's time and accuracy; the reports of `asha` show the time to the best value of `plain`. The
best of a few trials is a matter of luck; the mean of all trials is the better comparison of learning.
"""

import json
import operator
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Literal

import typer
import yaml

from benchmarks.plain_trials import MAX_LENGTH, REDUCTION, Setup, plain, search
from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.system.environment import set_environment_defaults
from orchestrator.ledger.ledger import Ledger
from orchestrator.objective.loading import load_objective
from orchestrator.training.process.hardware import choose_device

ROOT = Path(__file__).parent.parent
MODEL = Source(origin=Origin.PACKAGED, name="minilm")
DATA = Source(origin=Origin.PACKAGED, name="vader-movie")
VARIANTS = ("plain", "tuned", "plain-asha", "search", "solo", "packed", "asha")
REPORTS = 4
"""Reports of a trial with early stopping."""


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


def sweep_file(
    name: str, trials: list[dict[str, Any]], data: DataPlan, setup: Setup, parallel: int | None
) -> dict[str, Any]:
    """Return the sweep file with these trials."""
    return {
        "name": "whole",
        "objective": "sentiment",
        "model": "minilm",
        "data": {
            "source": "vader-movie",
            "train": data.train,
            "validation": data.validation,
            "test": data.test,
            "train_eval": 50,
            "max_length": MAX_LENGTH,
        },
        "adapter": {"method": "lora", "alpha": 32, "target_modules": "all-linear"},
        "training": {"epochs": setup.epochs, "batch_size": trials[0]["batch_size"], "device": setup.device},
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
        "early_stopping": {
            "reports": setup.reports,
            **({"rule": "asha", "reduction_factor": REDUCTION, "cohort": 4} if setup.asha else {"rule": "none"}),
        },
        "budget": {"trials": len(trials)},
        "resources": _resources(name, setup, parallel),
        "tracking": {"keep_adapters": 1},
        "seed": 1,
    }


def _resources(name: str, setup: Setup, parallel: int | None) -> dict[str, Any]:
    if name == "solo":
        gpus = setup.resources.get("gpu", 0)
        return {
            "engine": "solo",
            "parallel_trials": setup.at_once,
            "cpus_per_trial": setup.threads,
            "gpus_per_trial": gpus,
        }
    given = {} if parallel is None else {"parallel_trials": parallel}
    return {"engine": "packed", "gpus_per_trial": int(setup.device == "cuda"), **given}


def our_sweep(file: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run a sweep in a folder of its own; return each trial's best accuracy, and each report's time and accuracy."""
    path = folder / "whole.yaml"
    path.write_text(yaml.safe_dump(file))
    homes = {"LORATORY_HOME": str(folder / "home"), "LORATORY_MLFLOW_DIR": str(folder / "mlflow")}
    command = [sys.executable, "-m", "orchestrator", "sweep", str(path), "--json"]
    began = time.time()
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **homes}, capture_output=True, text=True, check=True)
    board = sorted(json.loads(done.stdout)["leaderboard"], key=operator.itemgetter("number"))
    ledger = Ledger.open(f"sqlite:///{folder / 'home' / 'ledger.db'}")
    records = ledger.trials.all(ledger.sweeps.find("whole").id)
    grown = sorted((one.ended_at - began, one.metrics["val/accuracy"]) for each in records for one in each.reports)
    return {"best": [row["score"] for row in board if row["score"] is not None], "grown": grown}


def summary(found: dict[str, Any]) -> str:
    """Return a line with a variant's results and, for this project, a second line with its reports."""
    best = found["best"]
    values = " ".join(f"{value:.4f}" for value in best)
    line = f"best validation accuracy {max(best):.4f}, mean {fmean(best):.4f} of {values}"
    reports = " ".join(f"{at:.0f} s {value:.4f}" for at, value in found.get("grown", []))
    return f"{line}\n   reports: {reports}" if reports else line


def main(  # noqa: PLR0913, PLR0917  (the command's options)
    configurations_: Annotated[int, typer.Option("--configurations")] = 16,
    rows: int = 2000,
    validation: int = 1000,
    epochs: int = 2,
    batch_size: int = 16,
    rounds: int = 1,
    only: Annotated[list[str] | None, typer.Option()] = None,
    device: Literal["cpu", "cuda"] = "cpu",
    at_once: int = 2,
    parallel: Annotated[int | None, typer.Option(help="trials of a pack; left out, the sweep measures it")] = None,
) -> None:
    """Measure and print."""
    set_environment_defaults()
    if device != "cpu":
        choose_device(device)
    base = str(resolve_model(MODEL))
    trials = configurations(configurations_, batch_size)
    data = DataPlan(source=DATA, train=rows, validation=validation, test=100)
    splits = load_objective("sentiment").splits(data)
    for number in range(rounds):
        for name in only or VARIANTS:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "rows.json"
                parts = {"train": splits.train, "validation": splits.validation}
                file.write_text(json.dumps({key: [*part] for key, part in parts.items()}))
                asha = name in {"asha", "plain-asha"}
                setup = Setup(
                    rows=str(file),
                    base=base,
                    epochs=epochs,
                    device=device,
                    at_once=at_once,
                    reports=REPORTS if asha else epochs,
                    tuned=name == "tuned",
                    asha=asha,
                )
                began = time.perf_counter()
                if name == "search":
                    found: dict[str, Any] = {"best": search(trials, setup)}
                elif name in {"plain", "tuned", "plain-asha"}:
                    found = {"best": plain(trials, setup)}
                else:
                    found = our_sweep(sweep_file(name, trials, data, setup, parallel), Path(folder))
                spent = time.perf_counter() - began
            print(f"round {number} {name:10s} {spent:7.1f} s   {summary(found)}", flush=True)


if __name__ == "__main__":
    typer.run(main)
