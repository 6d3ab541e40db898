"""The sections of the sweep file as pydantic models. ``checks`` has the rules over several keys.

Every key has a default here: one missing key must not hide the errors of the others. ``REQUIRED`` lists the keys
without a real default.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, Tag

from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.metric import Direction
from orchestrator.core.sweeps.plan import Attention, EngineName, Precision
from orchestrator.core.sweeps.policy import PREFER, Confirm, Preferred, PriorName, SamplerName, StoppingName, Until
from orchestrator.core.trials.settings import Group
from orchestrator.spec.sections.fields import (
    MAPPING,
    MAX_ITEMS,
    MAX_SETS,
    TEXT,
    Address,
    DataEntry,
    DeepSpeedEntry,
    ModelEntry,
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
    Threads,
    Tokens,
    Trials,
    by_shape,
    rule_error,
)
from orchestrator.spec.sections.folds import FoldsEntry
from orchestrator.spec.sections.function import FunctionSection
from orchestrator.spec.sections.gates import GatesSection, MetricRange
from orchestrator.spec.sections.generation import GenerationSection
from orchestrator.spec.sections.preference import Preference
from orchestrator.spec.sections.settings_fields import ParameterEntry, with_parameters, with_settings

_Text = TypeVar("_Text", bound=str)


def _share(value: float) -> float:
    """Check a GPU share; Ray counts in ten-thousandths and would round a smaller share to 0."""
    if 0 < value < 1e-4:
        raise rule_error("0 or a value >= 0.0001 is needed")
    return value


def _distinct(values: list[_Text]) -> list[_Text]:
    """Check that no value stands twice."""
    twice = [str(value) for value in values if values.count(value) > 1]
    if twice:
        raise rule_error(f"each name may stand once, {twice[0]} stands {twice.count(twice[0])} times")
    return values


REQUIRED: tuple[tuple[str, ...], ...] = (("name",), ("objective",), ("search",), ("search", "space"), ("budget",))


@with_settings(Group.DATA)
class Data(Section):
    """The rows for training, validation and test."""

    source: DataEntry | None = Field(
        default=None,
        description="packaged name, hub:org/name, a file, folder or pattern such as data/*.csv, a list of these, "
        "sqlite:///FILE?query=SELECT …, the query of another database, or a mapping with hub",
    )
    columns: dict[Short, Short] = Field(
        default={},
        max_length=MAX_SETS,
        description="the objective's column names to those of the source; further names are columns for slices",
    )
    labels: dict[Short, Scalar] = Field(
        default={},
        max_length=MAX_ITEMS,
        description="class name for each value in the data; null excludes rows with the value",
    )
    train: Rows | None = Field(default=None, description="training rows; by default all remaining rows")
    validation: Rows = Field(default=1000, description="validation rows, on which trials are compared")
    test: Rows = Field(
        default=1000, description="test rows, on which only the kept adapters are evaluated, once, at the end"
    )
    folds: FoldsEntry | None = Field(
        default=None,
        description="train the best configurations again on each other fold of the rows: a number of folds, or a "
        "mapping with folds and repeats; the validation split is one fold. For few rows",
    )
    seed: Seed = Field(default=0, description="seed of the split, the same for all trials")
    train_eval: Rows | None = Field(
        default=None, description="training rows evaluated for the overfit gap; 500 if absent"
    )
    shift: dict[Name, DataEntry] = Field(
        default={}, max_length=MAX_SETS, description="shift sets: data of other distributions, by name"
    )
    shift_rows: Rows = Field(default=1000, description="most rows of each shift set")
    prompt: Prose | None = Field(
        default=None,
        description="input of a generative task, with {text} for the row's text; the objective's own if absent",
    )
    chat_template: Address | None = Field(
        default=None, description="file with a chat template in Jinja; the tokenizer's own if absent"
    )
    packing: bool = Field(
        default=False,
        description="put the rows of a micro-batch after each other, without padding; no row attends to another. Solo "
        "engine only",
    )
    general: DataEntry | None = Field(
        default=None,
        description="general text with a column text, on which the kept adapters' forgetting is measured; if absent, "
        "bbc-news if gates.forgetting is set (movie-reviews-imdb if the task uses bbc-news), else it is not measured",
    )


@with_settings(Group.ADAPTER)
class Adapter(Section):
    """The fixed adapter settings, including the method."""


@with_settings(Group.TRAINING)
class Training(Section):
    """The device, the number format and the fixed training settings."""

    precision: Annotated[Precision, Field(strict=False)] = Field(
        default=Precision.AUTO,
        description="number format of the base model; float16 scales the loss, for GPUs without bfloat16",
    )
    attention: Annotated[Attention, Field(strict=False)] = Field(
        default=Attention.AUTO,
        description="attention of the solo engine: eager, sdpa or flash_attention_2; auto: the fastest on the device",
    )
    gradient_checkpointing: bool | None = Field(
        default=None,
        description="compute activations again in the backward, in the solo engine; if absent, for large base models "
        "on a GPU",
    )
    compile: bool = Field(default=False, description="torch.compile; not possible, because shapes change")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="device for training")
    deepspeed: DeepSpeedEntry | None = Field(
        default=None,
        description="train with DeepSpeed in the solo engine: zero1, zero2, zero3, a .json file or a mapping with its "
        "content",
    )


class Sampler(Section):
    """The sampler and its sizes; absent sizes are derived from the number of trials."""

    name: Annotated[SamplerName, Field(strict=False)] = Field(default=SamplerName.SURROGATE, description="the sampler")
    startup_trials: Trials | None = Field(
        default=None, description="trials before the sampler uses its model: random, or evenly spread (surrogate)"
    )
    population: Annotated[int, Field(ge=2, le=10**6)] | None = Field(default=None, description="size of a generation")


SamplerEntry = Annotated[
    Annotated[Annotated[SamplerName, Field(strict=False)], Tag(TEXT)] | Annotated[Sampler, Tag(MAPPING)], by_shape
]


@with_parameters
class SpaceSection(Section):
    """The searched settings. A parameter is written above the parameters conditioned on it.

    The parameters of a function have any names; ``check_names`` refuses them in other sweeps.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ParameterEntry | None]

    def entry(self, name: str) -> ParameterEntry | None:
        """Return a parameter's entry, or None. An attribute could be one of the section's own (``copy``, ``json``)."""
        if name in (self.model_extra or {}):
            return self.__pydantic_extra__[name]
        return getattr(self, name) if name in type(self).model_fields else None


class Search(Section):
    """The search space, the metric and the sampler."""

    metric: Short | None = Field(
        default=None, description="val/NAME, with a metric of the objective; its default metric if absent"
    )
    direction: Annotated[Direction, Field(strict=False)] | None = Field(
        default=None, description="direction of the metric; the objective defines it, a value here is only checked"
    )
    metrics: Annotated[list[Short], AfterValidator(_distinct), Field(max_length=4)] = Field(
        default=[],
        description="several metrics instead of one, for a Pareto front: val/NAME first, which ranks the trials, then "
        "val/NAME, gap/loss, gap/accuracy, shift/SET/NAME, forgetting/loss or forgetting/similarity",
    )
    constraints: dict[Short, MetricRange] = Field(
        default={},
        max_length=MAX_ITEMS,
        description="ranges of val/NAME, train/NAME, gap/loss, gap/accuracy, shift/SET/NAME, forgetting/loss or "
        "forgetting/similarity at the best checkpoint; trials outside rank last",
    )
    sampler: SamplerEntry = Field(
        default=SamplerName.SURROGATE,
        description="a sampler's name, or a mapping with its sizes; if absent, tpe for several metrics",
    )
    space: SpaceSection = Field(default=SpaceSection.model_validate({}), description="how each setting is searched")
    start: list[dict[Short, Scalar]] = Field(
        default=[], max_length=MAX_ITEMS, description="start points, tried first; the sampler completes them"
    )
    prefer: Annotated[list[Annotated[Preferred, Field(strict=False)]], AfterValidator(_distinct)] = Field(
        default=[*PREFER],
        description="choice among kept adapters that cannot be told apart on the test rows, the most important first: "
        "rank, gap (overfit gap), loss (of validation, in any report) or samples, each the smallest",
    )
    prior: Annotated[PriorName, Field(strict=False)] = Field(
        default=PriorName.SHIPPED,
        description="further start points. shipped: one from measured rates, if start is empty; ledger: the best "
        "configurations of earlier sweeps with this base model; none: no further ones",
    )


class EarlyStopping(Section):
    """When trials report, and when they end early."""

    rule: Annotated[StoppingName, Field(strict=False)] = Field(
        default=StoppingName.ASHA, description="the rule; it compares trials at the same number of samples"
    )
    metric: Short | None = Field(
        default=None,
        description="metric compared by the rule: val/NAME, with a metric of the objective; val/loss if absent; the "
        "leader in search.metric always continues",
    )
    reports: Reports = Field(
        default=8, description="reports per trial, evenly spaced; or a list of report points in training samples"
    )
    reduction_factor: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=3, description="asha and hyperband keep one of this many trials"
    )
    grace_samples: Natural | None = Field(
        default=None,
        description="no trial is stopped before this many training samples; if absent, before a quarter of the "
        "training and 32 optimizer steps after the warm-up, or at the first of the listed reports",
    )
    cohort: Trials | None = Field(default=None, description="reports that a rung waits for before its first decision")
    patience: Trials | None = Field(
        default=2,
        description="a trial ends after this many reports in a row with rising validation loss, falling training loss "
        "and no best value of search.metric; null: never",
    )
    limits: dict[Short, MetricRange] = Field(
        default={},
        max_length=MAX_ITEMS,
        description="ranges of val/NAME, train/NAME, gap/loss, gap/accuracy, shift/SET/NAME, forgetting/loss or "
        "forgetting/similarity; a trial ends at the first report outside them, from grace_samples on",
    )


EarlyStoppingEntry = Annotated[
    Annotated[Annotated[StoppingName, Field(strict=False)], Tag(TEXT)] | Annotated[EarlyStopping, Tag(MAPPING)],
    by_shape,
]


class BudgetSection(Section):
    """Limits of the sweep; the first one reached ends it. At least one is needed."""

    trials: Trials | None = Field(default=None, description="number of trials")
    wall_time: Seconds | None = Field(default=None, description="duration of the sweep: 90s, 20m, 1h30m")
    tokens: Tokens | None = Field(default=None, description="training tokens of all trials, without padding")
    until: Annotated[Until, Field(strict=False)] | None = Field(
        default=None,
        description="no_expected_gain: start no further trials when the expected improvement is below a fifth of the "
        "noise between trials",
    )


class ConfirmSection(Section):
    """Trainings of the best configurations with fresh seeds, after the search."""

    top: Annotated[int, Field(ge=1, le=100)] = Field(default=3, description="number of configurations, the best first")
    seeds: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="trainings of each, with fresh seeds; data.folds decides it"
    )


ConfirmEntry = Annotated[
    Annotated[Annotated[Confirm, Field(strict=False)], Tag(TEXT)] | Annotated[ConfirmSection, Tag(MAPPING)], by_shape
]


class ResourcesSection(Section):
    """The engine, the number of parallel trials, and the resources of each."""

    engine: Annotated[EngineName, Field(strict=False)] = Field(
        default=EngineName.PACKED,
        description="packed: trains many trials together over one base model, if the model allows it; "
        "solo: one process per trial; function: your own function, one process per trial",
    )
    parallel_trials: Threads | None = Field(
        default=None, description="trials trained at once; if absent, packed measures the fastest number, solo uses 1"
    )
    cpus_per_trial: Threads | None = Field(
        default=None, description="CPU threads of a trial; an equal share of all if absent"
    )
    gpus_per_trial: Annotated[float, AfterValidator(_share)] = Field(
        default=0.0, ge=0, le=1024, description="GPUs of a trial; fractions share a GPU, a pack uses a whole one"
    )
    workers_per_trial: Threads = Field(
        default=1,
        description="processes of a trial in the solo engine; they divide its micro-batches, CPU threads, GPUs and "
        "memory, by FSDP2, or by ZeRO with training.deepspeed",
    )


class TrackingSection(Section):
    """The MLflow servers, the number of kept adapters, and recording for trial tables."""

    uri: Address | None = Field(default=None, description="MLflow tracking URI; the local store in mlflow/ if absent")
    registry_uri: Address | None = Field(default=None, description="MLflow registry URI; the tracking URI if absent")
    keep_adapters: Threads = Field(default=3, description="number of best adapters to keep and log as models")
    record: bool = Field(
        default=False,
        description="record test predictions of every trial's best checkpoint for trial tables; MLflow and the report "
        "do not show them",
    )


class SweepFile(Section):
    """A sweep: an objective, a model, data, a search space and a budget."""

    name: Name = Field(default="", description="name of the sweep and of its MLflow experiment")
    description: Prose | None = Field(default=None, description="the purpose of the sweep, in one sentence")
    objective: Address = Field(
        default="", description="a task of objectives/, the path of your own .py file, or a function: my_run.py:run"
    )
    function: FunctionSection | None = Field(
        default=None, description="the length and the metrics of a function, if the objective is one"
    )
    model: ModelEntry | None = Field(
        default=None,
        description="packaged name, hub:org/name, a folder, a .gguf file, kaggle:OWNER/MODEL/FRAMEWORK/VARIATION, or a "
        "mapping with hub or torchhub",
    )
    quantisation: Annotated[Quantisation, Field(strict=False)] | None = Field(
        default=None,
        description="frozen linear layers in 4 bits (QLoRA: nf4 or fp4; nf4_single or fp4_single without double "
        "quantisation) or in 8 bits (int8), with bitsandbytes; not quantised if absent",
    )
    data: Data = Field(default=Data(), description="the rows")
    adapter: Adapter = Field(default=Adapter(), description="the adapter's fixed settings")
    training: Training = Field(default=Training(), description="device, number format and fixed settings of training")
    preference: Preference = Field(
        default=Preference(), description="the loss over pairs of answers, for objectives such as preference"
    )
    search: Search = Field(default=Search(), description="search space, metric and sampler")
    early_stopping: EarlyStoppingEntry = Field(
        default=EarlyStopping(), description="a rule's name, a mapping, or none; if absent, none for several metrics"
    )
    budget: BudgetSection = Field(default=BudgetSection(), description="limits of the sweep")
    generation: GenerationSection | None = Field(
        default=None, description="answers of a generative task at reports; at none if absent, unless searched"
    )
    confirm: ConfirmEntry = Field(
        default=Confirm.AUTO,
        description="trainings of the best configurations with fresh seeds after the search: a mapping with top and "
        "seeds; auto: as many as 15 % of the search's samples allow, possibly none; or none",
    )
    learning_curve: Annotated[int, Field(ge=2, le=20)] | None = Field(
        default=None,
        description="train the winner's configuration this many times on each of 12.5, 25, 50 and 100 % of its rows, "
        "after the search: the report says whether more rows would help. No learning curve if absent",
    )
    resources: ResourcesSection = Field(default=ResourcesSection(), description="engine and parallel trials")
    tracking: TrackingSection = Field(
        default=TrackingSection(), description="MLflow servers, kept adapters and recording"
    )
    gates: GatesSection = Field(default=GatesSection(), description="rules that promote checks")
    seed: Seed = Field(default=0, description="seed of the proposals and of every trial")


def nullable_sections() -> tuple[str, ...]:
    """Return the sections allowed to be empty. An empty early_stopping is ambiguous: defaults or none."""
    fields: dict[str, Any] = SweepFile.model_fields
    return tuple(
        name for name, item in fields.items() if isinstance(item.default, Section) and name != "early_stopping"
    )
