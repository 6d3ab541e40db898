"""The description of a sweep for the tracker, and the properties shared by its adapters."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.assets.models import resolve_model
from orchestrator.core.data import DataSummary
from orchestrator.core.methods import deepspeed
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.plan import EnginePlan
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.tasks.problem import Problem
from orchestrator.evaluation.rows.suspected_labels import FILE as SUSPECTED_LABELS_FILE
from orchestrator.objective.protocol import Head, Objective, problem_of
from orchestrator.objective.rows.text_pairs import PAIR
from orchestrator.objective.splits import NEAR_COPIES_FILE
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.logged_models.adapters import FUNCTION, SweepAdapters
from orchestrator.tracking.runs.description import DataInput, SweepDescription

if TYPE_CHECKING:
    import datasets


def describe(spec: SweepSpec, splits: "Mapping[str, datasets.Dataset]", digests: Mapping[str, str]) -> SweepDescription:
    """Return the tracker's description of the sweep, without the folder of its files.

    Args:
        spec: the checked sweep file.
        splits: its rows by split; empty: a function reads them itself.
        digests: digest of the rows by split, from the fingerprint.
    """
    contexts = {"train": "training"}
    return SweepDescription(
        metric=spec.metric,
        fixed=spec.fixed,
        params=_params(spec),
        data=tuple(
            DataInput(
                name=name,
                context=contexts.get(name, name.partition("/")[0]),
                source=str(spec.data.shift.get(name.partition("/")[2], spec.data.source)),
                digest=digests[name],
                rows=len(rows),
            )
            for name, rows in splits.items()
        ),
        notes=spec.description or "",
        keep_adapters=spec.tracking.keep_adapters,
    )


def row_files(folder: Path) -> tuple[Path, ...]:
    """Return the files about single rows in a sweep's folder, as the tracker gets them; they need not exist yet."""
    return folder / NEAR_COPIES_FILE, folder / SUSPECTED_LABELS_FILE


def adapters_of(plan: EnginePlan, objective: Objective, metric: Metric, data: DataSummary) -> SweepAdapters:
    """Return the folder of a sweep's adapters and their shared properties.

    Args:
        plan: plan of the sweep's engines.
        objective: the sweep's.
        metric: decides which checkpoint is best.
        data: holds the labels of the data; empty: they are unknown.

    Raises:
        AssetError: the base model is not available.
    """
    prompt = getattr(objective, "prompt", None)
    asks = objective.head is Head.QUESTION_ANSWERING
    return SweepAdapters(
        sweep_dir=Path(plan.sweep_dir),
        metric=metric,
        base=plan.model,
        base_path=resolve_model(plan.model),
        quantisation=plan.quantisation,
        head=objective.head.value,
        labels=tuple(objective.labels),
        problem=problem_of(objective) or Problem.SINGLE_LABEL,
        objective=objective.name,
        prompt=prompt if isinstance(prompt, str) else "{text}",
        max_new_tokens=None if plan.generation is None else plan.generation.max_new_tokens,
        chat=hasattr(objective, "chat_template"),
        chat_template=plan.data.chat_template,
        label_values=data.labels,
        label_counts=data.label_counts,
        text_column=plan.data.columns.get("question", "question") if asks else plan.data.columns.get("text", "text"),
        pair_column=_pair_column(plan, objective.head),
    )


def _pair_column(plan: EnginePlan, head: Head) -> str | None:
    """Return the source's name of the column with a row's second text: of a pair, or the context of a question."""
    columns = plan.data.columns
    if head is Head.QUESTION_ANSWERING:
        return columns.get("context", "context")
    return columns.get(PAIR) if head is Head.SEQUENCE_CLASSIFICATION else None


def function_models(plan: EnginePlan, function: FunctionPlan, metric: Metric) -> SweepAdapters:
    """Return the folder of the checkpoints of a function and their shared properties.

    Args:
        plan: plan of the sweep's engines.
        function: the function.
        metric: decides which checkpoint is best.
    """
    return SweepAdapters(
        sweep_dir=Path(plan.sweep_dir),
        metric=metric,
        base=plan.model,
        base_path=function.path,
        head=FUNCTION,
        labels=(),
        objective=plan.model.name,
        function_digest=function.digest,
    )


def _params(spec: SweepSpec) -> dict[str, ParamValue]:
    params: dict[str, ParamValue] = {
        "objective": spec.objective,
        "model": str(spec.model),
        "data": str(spec.data.source),
        "sampler": spec.sampler.name.value,
        "stopping": spec.stopping.rule.value,
        "metric": spec.metric.name,
        "seed": spec.seed,
    }
    if spec.function is not None:
        params["samples"] = spec.function.samples
    elif not spec.space.has("epochs"):
        params["epochs"] = spec.fixed["epochs"]
    if spec.quantisation is not None:
        params["quantisation"] = spec.quantisation.value
    if spec.deepspeed is not None:
        params["deepspeed"] = deepspeed.summary(spec.deepspeed)
    if spec.resources.workers_per_trial > 1:
        params["workers_per_trial"] = spec.resources.workers_per_trial
    return params
