"""The sweep file, section by section. What depends on several keys at once is checked elsewhere.

Every key has a default here, so that one missing key does not hide the problems of the others; ``REQUIRED`` names
those that the user must write.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, Tag

from orchestrator.core.metric import Direction
from orchestrator.core.plan import EngineName, Precision
from orchestrator.core.policy import SamplerName, StoppingName
from orchestrator.core.quantisation import Quantisation
from orchestrator.core.settings import Group
from orchestrator.spec.fields import (
    MAPPING,
    MOST_ITEMS,
    MOST_SETS,
    TEXT,
    Address,
    DeepSpeedEntry,
    Name,
    Natural,
    Prose,
    Reports,
    Rows,
    Scalar,
    Seconds,
    Section,
    Seed,
    Short,
    SourceEntry,
    Threads,
    Tokens,
    Trials,
    broken,
    by_shape,
)
from orchestrator.spec.settings_fields import with_parameters, with_settings


def _share(value: float) -> float:
    """Refuse a share of a GPU that Ray, which counts in ten-thousandths, would take for none."""
    if 0 < value < 1e-4:
        raise broken("0 or a value >= 0.0001 is needed")
    return value


REQUIRED: tuple[tuple[str, ...], ...] = (("name",), ("objective",), ("search",), ("search", "space"), ("budget",))


@with_settings(Group.DATA)
class Data(Section):
    """The rows that are trained, selected and tested on."""

    source: SourceEntry | None = Field(
        default=None,
        description="packaged name, hub:org/name, a csv/json/parquet file, or a mapping with hub",
    )
    columns: dict[Short, Short] = Field(
        default={}, max_length=MOST_SETS, description="the objective's column names to those of the source"
    )
    labels: dict[Short, Scalar] = Field(
        default={},
        max_length=MOST_ITEMS,
        description="class name by the value that stands in the data; null leaves the rows of a value out",
    )
    train: Rows | None = Field(default=None, description="training rows; all that the other splits leave if absent")
    validation: Rows = Field(default=1000, description="rows that trials are compared on")
    test: Rows = Field(default=1000, description="rows that only the kept adapters are measured on, once, at the end")
    seed: Seed = Field(default=0, description="seed of the split, the same for all trials")
    train_eval: Rows | None = Field(
        default=None, description="training rows measured in eval mode for the overfitting gap; 500 if absent"
    )
    shift: dict[Name, SourceEntry] = Field(
        default={}, max_length=MOST_SETS, description="data of other distributions, by the name of their metrics"
    )
    shift_rows: Rows = Field(default=1000, description="rows of each shift set, at most")


@with_settings(Group.ADAPTER)
class Adapter(Section):
    """The adapter's settings that are not searched, its method among them."""


@with_settings(Group.TRAINING)
class Training(Section):
    """How long and how a trial trains, and the settings that are not searched."""

    precision: Annotated[Precision, Field(strict=False)] = Field(
        default=Precision.AUTO, description="number format of the frozen base"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where trials train")
    deepspeed: DeepSpeedEntry | None = Field(
        default=None,
        description="train with DeepSpeed, each trial by itself: zero1, zero2, a .json file or what would stand in it",
    )


class Sampler(Section):
    """The sampler and its sizes; sizes that are absent follow the number of trials."""

    name: Annotated[SamplerName, Field(strict=False)] = Field(default=SamplerName.TPE, description="Optuna's sampler")
    startup_trials: Trials | None = Field(default=None, description="random trials before the sampler's model is used")
    population: Annotated[int, Field(ge=2, le=10**6)] | None = Field(default=None, description="size of a generation")


SamplerEntry = Annotated[
    Annotated[Annotated[SamplerName, Field(strict=False)], Tag(TEXT)] | Annotated[Sampler, Tag(MAPPING)], by_shape
]


@with_parameters
class SpaceSection(Section):
    """What is searched. A parameter that others depend on stands before them."""


class Search(Section):
    """What is searched, for which metric, and how."""

    metric: Short | None = Field(
        default=None, description="val/<one of the objective's metrics>; its default if absent"
    )
    direction: Annotated[Direction, Field(strict=False)] | None = Field(
        default=None, description="the objective knows it; written here, it is checked"
    )
    sampler: SamplerEntry = Field(default=SamplerName.TPE, description="a sampler's name, or a mapping with its sizes")
    space: SpaceSection = Field(default=SpaceSection(), description="how each setting is searched")
    start: list[dict[Short, Scalar]] = Field(
        default=[], max_length=MOST_ITEMS, description="points tried first; the sampler completes them"
    )


class EarlyStopping(Section):
    """When trials report, and what ends them early."""

    rule: Annotated[StoppingName, Field(strict=False)] = Field(
        default=StoppingName.ASHA, description="the rule that compares trials at the same number of samples"
    )
    reports: Reports = Field(
        default=6, description="reports per trial, evenly spaced; or a list of samples at which trials report"
    )
    reduction_factor: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=3, description="asha and hyperband keep one trial in this many"
    )
    grace_samples: Natural | None = Field(
        default=None, description="no trial is stopped before it has seen this many rows"
    )
    cohort: Trials | None = Field(default=None, description="trials a rung waits for before it judges the first")
    patience: Trials | None = Field(
        default=2,
        description="reports in a row with rising validation and falling training loss that end a trial; null: never",
    )


EarlyStoppingEntry = Annotated[
    Annotated[Annotated[StoppingName, Field(strict=False)], Tag(TEXT)] | Annotated[EarlyStopping, Tag(MAPPING)],
    by_shape,
]


class BudgetSection(Section):
    """What the sweep may spend, whichever ends first; at least one is needed."""

    trials: Trials | None = Field(default=None, description="trials that are started")
    wall_time: Seconds | None = Field(default=None, description="time that the sweep runs: 90s, 20m, 1h30m")
    tokens: Tokens | None = Field(default=None, description="training tokens of all trials, padding left out")


class ResourcesSection(Section):
    """The engine, trials at once, and what each of them takes."""

    engine: Annotated[EngineName, Field(strict=False)] = Field(
        default=EngineName.PACKED,
        description="packed: many trials over one base, where it allows that; solo: a process for each trial",
    )
    parallel_trials: Threads | None = Field(
        default=None, description="trials at once; if absent, as many as pay, by measure, where they are packed, else 1"
    )
    cpus_per_trial: Threads | None = Field(
        default=None, description="CPU threads of a trial; an equal share of all if absent"
    )
    gpus_per_trial: Annotated[float, AfterValidator(_share)] = Field(
        default=0.0, ge=0, le=1024, description="GPUs of a trial; fractions share one, and a pack takes a whole one"
    )


class TrackingSection(Section):
    """Where runs are recorded."""

    uri: Address | None = Field(default=None, description="MLflow tracking URI; the local store in mlflow/ if absent")
    registry_uri: Address | None = Field(default=None, description="MLflow registry URI; the tracking URI if absent")
    keep_adapters: Threads = Field(default=3, description="the best adapters that are kept and logged as models")


class SweepFile(Section):
    """A sweep: an objective, a model, data, and what is searched within which budget."""

    name: Name = Field(default="", description="the sweep's name, and its experiment's in MLflow")
    description: Prose | None = Field(default=None, description="what the sweep is for, in a sentence")
    objective: Address = Field(default="", description="a task of objectives/, or the path of your own .py file")
    model: SourceEntry | None = Field(default=None, description="packaged name, hub:org/name or a folder")
    quantisation: Annotated[Quantisation, Field(strict=False)] | None = Field(
        default=None,
        description="nf4: the frozen base's layers in 4 bits (QLoRA), with bitsandbytes; as they are if absent",
    )
    data: Data = Field(default=Data(), description="which rows")
    adapter: Adapter = Field(default=Adapter(), description="the adapter's fixed settings")
    training: Training = Field(default=Training(), description="length, number format and fixed settings of training")
    search: Search = Field(default=Search(), description="what is searched")
    early_stopping: EarlyStoppingEntry = Field(default=EarlyStopping(), description="a mapping, or none")
    budget: BudgetSection = Field(default=BudgetSection(), description="what the sweep may spend")
    resources: ResourcesSection = Field(default=ResourcesSection(), description="trials at once")
    tracking: TrackingSection = Field(default=TrackingSection(), description="where runs are recorded")
    seed: Seed = Field(default=0, description="seed of the proposals and of every trial")


def nullable_sections() -> tuple[str, ...]:
    """Return the sections that may be left empty; not early_stopping, which could mean its defaults or none."""
    fields: dict[str, Any] = SweepFile.model_fields
    return tuple(
        name for name, item in fields.items() if isinstance(item.default, Section) and name != "early_stopping"
    )
