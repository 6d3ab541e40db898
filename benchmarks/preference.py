"""DPO on short headlines against padded ones, beside TRL on the same rows from the same start.

TRL is no dependency: ``pip install --no-deps --target FOLDER trl==1.16.0``, then

    python -m benchmarks.preference --trl FOLDER

Both train the same adapter from the same initial values, on the same rows in the same order, in float32. Printed are
the metrics of the held-out pairs before and after. Margins are in nats, without beta.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from objectives.short_headline import OBJECTIVE
from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.sweeps.plan import EnginePlan, Precision
from orchestrator.core.system.environment import usable_cores
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.padding import IGNORED
from orchestrator.objective.protocol import Example, objective_of
from orchestrator.objective.sequences import separate
from orchestrator.training.context import EngineContext
from orchestrator.training.data.update_plan import UpdatePlan
from orchestrator.training.mixed import MixedEngine
from orchestrator.training.model.adapters import adapt
from orchestrator.training.model.base_model import load_base
from orchestrator.training.reference import base_pairs

TRL_NAMES = {"dpo": "sigmoid", "dpo_norm": "sigmoid_norm", "ipo": "ipo"}


def main(arguments: argparse.Namespace) -> None:
    """Train with the packed engine and with TRL, and print both."""
    packaged = Source(origin=Origin.PACKAGED, name="smollm2")
    model = Source(origin=Origin.LOCAL, name=arguments.model) if arguments.model else packaged
    folder = Path(tempfile.mkdtemp(prefix="preference-"))
    plan = EnginePlan(
        objective="short_headline",
        model=model,
        data=DataPlan(
            source=OBJECTIVE.default_source,
            train=arguments.train,
            validation=arguments.validation,
            test=8,
            train_eval=8,
        ),
        report_points=(arguments.train,),
        rows_per_epoch=arguments.train,
        sweep_dir=str(folder),
        metric=OBJECTIVE.default_metric,
        precision=Precision.FLOAT32,
        device="cpu",
        threads=usable_cores(),
    )
    settings = TrialSettings(
        rank=8,
        learning_rate=arguments.learning_rate,
        batch_size=8,
        max_length=arguments.max_length,
        loss=arguments.loss,
        beta=arguments.beta,
    )
    task = TrialTask(number=0, settings=settings, seed=arguments.seed)
    context, began = EngineContext(plan, OBJECTIVE), time.monotonic()
    validation = context.data.split("validation", settings.max_length)
    with closing(MixedEngine(context)) as engine:
        assert engine.capacity(1, measure=False).packs
        with closing(engine.start(task)) as run:
            after = run.advance(arguments.train).metrics
        seconds = time.monotonic() - began
        order = UpdatePlan.create(context.data, task, plan.timetable)
        rows = context.data.all_rows(settings.max_length)
        base = base_pairs(plan, OBJECTIVE, context.data.tokenizer, rows, "cpu")[arguments.train :][: len(validation)]
    before = objective_of(OBJECTIVE, settings).base_metrics(base)  # type: ignore[attr-defined]  # of this objective
    torch.manual_seed(task.seed)
    adapt(load_base(model, OBJECTIVE, "cpu"), settings, OBJECTIVE.head).model.save_pretrained(str(folder / "start"))
    print(f"packed engine, {seconds:.0f} s")
    for name in ("loss", "margin", "preference_accuracy", "chosen_logp"):
        print(f"  {name:20} {before[name]:10.4f} {after[f'val/{name}']:10.4f}")
    if arguments.trl:
        ordered = [order.rows[row] for update in order.order for row in update]
        beside_trl(arguments, folder, resolve_model(model), ordered, validation)


def beside_trl(
    arguments: argparse.Namespace, folder: Path, base: str, train: Sequence[Example], validation: Sequence[Example]
) -> None:
    """Train with TRL in a process of its own and print its metrics."""
    settings = {
        "loss_type": TRL_NAMES[arguments.loss],
        "beta": arguments.beta,
        "learning_rate": arguments.learning_rate,
        "batch_size": 8,
        "eval_size": 8,
    }
    document = {
        "base": base,
        "start": str(folder / "start"),
        "settings": settings,
        "train": [*map(tokenised, train)],
        "validation": [*map(tokenised, validation)],
    }
    (folder / "trl.json").write_text(json.dumps(document))
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("plain_dpo.py")), str(folder / "trl.json")],
        env={**os.environ, "PYTHONPATH": arguments.trl},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"TRL, {time.monotonic() - began:.0f} s")
    margins = [value / arguments.beta for value in found["rewards/margins"]]
    shown = {"loss": found["loss"], "margin": margins}
    shown |= {"preference_accuracy": found["rewards/accuracies"], "chosen_logp": found["logps/chosen"]}
    for name, (first, last) in shown.items():
        print(f"  {name:20} {first:10.4f} {last:10.4f}")


def tokenised(row: Example) -> dict[str, list[int]]:
    """Return a pair in TRL's form: the common prompt, and the answers."""
    sides = separate(row)
    prompt = [token for token, label in zip(*sides[0].values(), strict=True) if label == IGNORED]
    answers = [[label for label in side["labels"] if label != IGNORED] for side in sides]
    return {"prompt_ids": prompt, "chosen_ids": answers[0], "rejected_ids": answers[1]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trl", help="folder with TRL; without it, only the packed engine trains")
    parser.add_argument("--model", help="folder of another base model")
    parser.add_argument("--train", type=int, default=32)
    parser.add_argument("--validation", type=int, default=24)
    parser.add_argument("--max-length", type=int, default=48)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--loss", default="dpo", choices=TRL_NAMES)
    parser.add_argument("--beta", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
