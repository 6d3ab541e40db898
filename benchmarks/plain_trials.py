"""The rivals of ``whole_sweep`` in their usual form: Ray Tune, or the Trainer's own search, over Trainer and peft."""

import json
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import override

from orchestrator.core.sweeps.plan import Precision
from orchestrator.core.system.environment import usable_cores
from orchestrator.training.process.hardware import number_format

if TYPE_CHECKING:
    import optuna
    from transformers import PreTrainedModel, Trainer

MAX_LENGTH = 64
REDUCTION = 4
"""With early stopping, one trial in this many continues at a rung."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Values shared by all trials of a variant.

    Attributes:
        rows: the file with the rows.
        base: the base's folder.
        device: ``cpu`` or ``cuda``.
        at_once: trials sharing the device.
        reports: measurements of the validation rows in a trial.
        tuned: bfloat16 on hardware with fast bfloat16, batches of similar lengths, and the fastest attention.
        asha: Tune stops trials early.
    """

    rows: str
    base: str
    epochs: int
    device: str
    at_once: int
    reports: int
    tuned: bool = False
    asha: bool = False

    @property
    def threads(self) -> int:
        """CPU threads of a trial."""
        return max(1, usable_cores() // self.at_once)

    @property
    def resources(self) -> dict[str, float]:
        """Ray resources of a trial."""
        share = {"gpu": 1 / self.at_once} if self.device == "cuda" else {}
        return {"cpu": min(self.threads, usable_cores() / self.at_once), **share}


def plain_trainer(config: dict[str, Any] | None, setup: Setup) -> "Trainer":
    """Return a hand-written Trainer for a configuration; None: the search's configuration, by trial number."""
    from datasets import Dataset
    from transformers import AutoTokenizer, DataCollatorWithPadding, EvalPrediction, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(setup.base)
    splits = {
        name: Dataset.from_list(part).map(
            lambda row: tokenizer(row["text"], truncation=True, max_length=MAX_LENGTH), remove_columns=["text"]
        )
        for name, part in json.loads(Path(setup.rows).read_text()).items()
    }
    arguments = TrainingArguments(
        tempfile.mkdtemp(),
        per_device_eval_batch_size=32,
        num_train_epochs=setup.epochs,
        **reporting(setup.reports),
        save_total_limit=1,
        report_to=[],
        use_cpu=setup.device == "cpu",
        bf16=setup.tuned and number_format(Precision.AUTO, setup.device) is Precision.BFLOAT16,
        disable_tqdm=True,
        train_sampling_strategy="group_by_length" if setup.tuned else "random",
        **({} if config is None else named(config)),
    )

    def accuracy(prediction: EvalPrediction) -> dict[str, float]:
        logits: Any = prediction.predictions
        return {"accuracy": float((logits.argmax(-1) == prediction.label_ids).mean())}

    return Trainer(
        None if config is None else adapted(config, setup),
        arguments,
        train_dataset=splits["train"],
        eval_dataset=splits["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        model_init=None if config is not None else lambda trial: adapted(CHOSEN[trial.number if trial else 0], setup),
    )


def reporting(reports: int) -> dict[str, Any]:
    """Return the Trainer's arguments to evaluate and save ``reports`` times, the last time at the end.

    One report is named by epoch: the Trainer reads a share of 1 as one step.
    """
    if reports == 1:
        return {"eval_strategy": "epoch", "save_strategy": "epoch"}
    every = 1 / reports
    return {"eval_strategy": "steps", "eval_steps": every, "save_strategy": "steps", "save_steps": every}


def named(config: dict[str, Any]) -> dict[str, Any]:
    """Return the Trainer's part of a configuration, under the Trainer's names."""
    return {"learning_rate": config["learning_rate"], "per_device_train_batch_size": config["batch_size"]}


def adapted(config: dict[str, Any], setup: Setup) -> "PreTrainedModel":
    """Return the base model with a new adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    attention = "eager" if setup.tuned and setup.device == "cpu" else "sdpa"
    model = AutoModelForSequenceClassification.from_pretrained(setup.base, num_labels=2, attn_implementation=attention)
    adapter = LoraConfig(
        r=config["rank"],
        lora_alpha=32,
        lora_dropout=config["dropout"],
        target_modules="all-linear",
        task_type="SEQ_CLS",
    )
    return cast("PreTrainedModel", get_peft_model(model, adapter))  # Trainer takes it, and is typed without it


CHOSEN: list[dict[str, Any]] = []
"""The configurations of `search`, by Optuna's trial number."""


def search(trials: list[dict[str, Any]], setup: Setup) -> list[float]:
    """Run the trials with ``Trainer.hyperparameter_search`` and Optuna; return the best accuracy of each."""
    CHOSEN[:] = trials
    found: list[float] = []

    def begun(trial: "optuna.Trial") -> dict[str, Any]:
        found.append(0.0)
        return named(CHOSEN[trial.number])

    def measured(metrics: dict[str, float]) -> float:
        found[-1] = max(found[-1], metrics["eval_accuracy"])
        return metrics["eval_accuracy"]

    plain_trainer(None, setup).hyperparameter_search(
        hp_space=begun,
        compute_objective=measured,
        n_trials=len(trials),
        direction="maximize",
        backend="optuna",
    )
    return found


def train_plainly(config: dict[str, Any], *, setup: Setup) -> None:
    """Train one trial as a hand-written function, and report to Tune after each evaluation."""
    import torch
    from ray import tune
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

    class Report(TrainerCallback):
        @override
        def on_evaluate(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **named: Any
        ) -> None:
            tune.report({"accuracy": named["metrics"]["eval_accuracy"]})

    torch.set_num_threads(setup.threads)
    trainer = plain_trainer(config, setup)
    trainer.add_callback(Report())
    trainer.train()


def plain(trials: list[dict[str, Any]], setup: Setup) -> list[float]:
    """Run the trials with Tune alone; return the best validation accuracy of each."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    os.environ["OMP_NUM_THREADS"] = str(setup.threads)
    ray.init(num_cpus=usable_cores(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    found = tune.run(
        tune.with_parameters(train_plainly, setup=setup),
        config=tune.grid_search(trials),
        resources_per_trial=setup.resources,
        scheduler=ASHAScheduler(max_t=setup.reports, reduction_factor=REDUCTION) if setup.asha else None,
        metric="accuracy",
        mode="max",
        verbose=0,
    )
    ray.shutdown()
    return [float(trial.metric_analysis["accuracy"]["max"]) for trial in found.trials]
