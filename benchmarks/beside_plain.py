"""Trainings of this project and of plain transformers and peft with the same settings, on the same rows."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.core.trials.trial import TrialTask
from orchestrator.objective.protocol import Objective
from orchestrator.training.context import EngineContext
from orchestrator.training.mixed import MixedEngine


def packed_seeds(
    objective: Objective,
    model: Source,
    data: DataPlan,
    params: Mapping[str, ParamValue],
    *,
    epochs: int,
    seeds: int,
    generation: GenerationPlan | None = None,
) -> Iterator[Mapping[str, float]]:
    """Train the seeds 0, 1, … together to their end; yield the test metrics of each, by name without the split.

    Args:
        objective: the task, with its classes.
        model: the base model.
        data: the rows; ``train`` is their number.
        params: settings of the trial, without ``epochs``.
        epochs: passes over the training rows.
        seeds: number of trainings.
        generation: how answers are written, for a task that writes some.
    """
    rows = data.train or 0
    samples = rows * epochs
    with tempfile.TemporaryDirectory() as folder:
        plan = EnginePlan(
            objective=objective.name,
            model=model,
            data=data,
            report_points=(samples,),
            rows_per_epoch=rows,
            sweep_dir=folder,
            metric="val/loss",  # of one report, so it chooses nothing
            device="cuda" if torch.cuda.is_available() else "cpu",
            threads=torch.get_num_threads(),
            generation=generation,
        )
        settings = TrialSettings.from_params({**params, "epochs": epochs})
        tasks = [TrialTask(number=seed, settings=settings, seed=seed) for seed in range(seeds)]
        with closing(MixedEngine(EngineContext(plan, objective))) as engine:
            engine.capacity(seeds, measure=False)
            wanted = {engine.start(task): samples for task in tasks}
            reports: list[Any] = []
            while len(reports) < seeds:
                found = engine.step(dict.fromkeys(wanted, samples))
                reports += found.values()
                wanted = {run: samples for run in wanted if run not in found}
            by_trial = {report.trial: report for report in reports}
            for task in tasks:
                yield engine.measure(Path(folder) / by_trial[task.number].checkpoint, task, "test").metrics


def plain_training(
    model: torch.nn.Module,
    rows: Any,  # noqa: ANN401  (a data set of datasets; Trainer names one of torch)
    params: Mapping[str, ParamValue],
    *,
    epochs: int,
    seed: int,
    collator: Any = None,  # noqa: ANN401  (any collator of transformers)
) -> Trainer:
    """Train one seed with ``Trainer`` and return it; nothing is saved.

    Args:
        model: with an adapter.
        rows: encoded training rows.
        params: ``batch_size``, ``learning_rate`` and, if it is another one, ``head_learning_rate``, as in
            ``packed_seeds``; all else is the default of ``Trainer``.
        epochs: passes over the rows.
        seed: of the order of the rows and of dropout.
        collator: pads the rows; None: the default of ``Trainer``.
    """
    rate = float(str(params["learning_rate"]))
    trained: dict[bool, list[torch.nn.Parameter]] = {False: [], True: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            trained["lora_" not in name].append(parameter)
    head_rate = float(str(params.get("head_learning_rate", rate)))
    groups: list[dict[str, Any]] = [{"params": trained[False]}, {"params": trained[True], "lr": head_rate}]
    optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=0.0)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            num_train_epochs=epochs,
            per_device_train_batch_size=int(str(params["batch_size"])),
            seed=seed,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=collator,
            optimizers=(optimizer, None),
        )
        trainer.train()
    return trainer


def shown(side: str, found: Mapping[str, list[float]], seconds: float) -> str:
    """Return one line: mean and value of each seed, by metric.

    Args:
        side: name of the trained side.
        found: values of the seeds by metric.
        seconds: time of all trainings and measurements.
    """
    texts = [
        f"{metric} {mean(values):.3f} (seeds: {' '.join(f'{one:.3f}' for one in values)})"
        for metric, values in found.items()
    ]
    return f"{side}: {', '.join(texts)}; {seconds:.0f} s"
