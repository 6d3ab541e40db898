"""The plan of a sweep's engines."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.methods.deepspeed import Config
from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.core.space import ParamValue
from orchestrator.core.tasks.function import FunctionPlan
from orchestrator.core.tasks.generation import GenerationPlan
from orchestrator.core.trials.timetable import Timetable


class Precision(enum.StrEnum):
    """Number format of the matrix products.

    The solo engine keeps weights, optimizer states and evaluation in float32. The packed engine also holds the frozen
    weights in this format and evaluates in it; the kept adapters are measured again in float32. In float16 each trial
    scales its loss.
    """

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


WeightFormat = Literal[Precision.FLOAT32, Precision.BFLOAT16]
"""Number format of weights in memory or in a file: four or two bytes each."""


class Attention(enum.StrEnum):
    """Attention of the solo engine, by transformers' names; auto: the fastest on the device."""

    AUTO = "auto"
    EAGER = "eager"
    SDPA = "sdpa"
    FLASH = "flash_attention_2"


class EngineName(enum.StrEnum):
    """The engine: solo (one trial at a time), packed (many trials over one base model) or function (a user's)."""

    SOLO = "solo"
    PACKED = "packed"
    FUNCTION = "function"

    @property
    def reports_in_training_format(self) -> bool:
        """Whether reports are measured in the number format of training instead of float32."""
        return self is EngineName.PACKED


@dataclass(frozen=True, kw_only=True, slots=True)
class EnginePlan:
    """The properties shared by all trials of a sweep, as plain picklable values.

    Attributes:
        objective: name of the objective, or path of its ``.py`` file.
        model: the base model.
        quantisation: format of its frozen linear layers; None: as for ``precision``.
        deepspeed: DeepSpeed's configuration; the solo engine trains every trial then. None: without DeepSpeed.
        workers: processes of each trial in the solo engine; several divide each micro-batch and the training state.
        data: the data and its splits.
        report_points: nominal training samples at which trials report, ascending; see ``timetable``.
        sweep_dir: absolute path of the sweep's folder; checkpoints are in ``trials/<number>/``. Empty: not placed yet.
        precision: number format of the matrix products.
        attention: attention of the solo engine.
        checkpointing: whether the solo engine computes activations again in the backward; None: chosen by the device.
        threads: CPU threads of one trial, or of the whole pack.
        device: ``cpu``, ``cuda`` or ``auto``.
        metric: name of the searched metric.
        engine: the engine.
        smallest, largest: settings of the possible trials with the least and the most time and memory.
        kinds: the possible combinations of the settings that decide whether a trial can be packed; empty: one.
        rows_per_epoch: see ``Timetable``.
        tried: adapter settings tried with peft before the first trial; they cover the possible ones. Empty: none.
        searched: names of the searched settings.
        sweep_key: identifies the sweep in its checkpoints; empty: no sweep.
        record: whether each trial's best checkpoint is measured on the test split for trial tables.
        forgetting: whether each trial's best checkpoint is measured on the general text when the trial ends.
        early: metrics of shift sets and of forgetting that early stopping needs at reports; see ``StoppingPolicy``.
        early_from: samples of the first report with them.
        function: the function that trains a trial; None: an objective of the other engines.
        generation: how answers are written and measured; None: the task writes no text.
        row_digests: digest of the rows by split, compared with the rows read by a trial's process. Empty: not compared.
    """

    objective: str
    model: Source
    data: DataPlan
    report_points: tuple[int, ...]
    sweep_dir: str
    metric: str
    precision: Precision = Precision.AUTO
    attention: Attention = Attention.AUTO
    checkpointing: bool | None = None
    threads: int = 1
    device: str = "auto"
    engine: EngineName = EngineName.SOLO
    smallest: Mapping[str, ParamValue] = field(default_factory=dict)
    largest: Mapping[str, ParamValue] = field(default_factory=dict)
    kinds: tuple[Mapping[str, ParamValue], ...] = ()
    quantisation: Quantisation | None = None
    deepspeed: Config | None = None
    workers: int = 1
    rows_per_epoch: int | None = None
    tried: tuple[Mapping[str, ParamValue], ...] = ()
    searched: tuple[str, ...] = ()
    sweep_key: str = ""
    record: bool = False
    forgetting: bool = False
    early: tuple[str, ...] = ()
    early_from: int = 0
    function: FunctionPlan | None = None
    generation: GenerationPlan | None = None
    row_digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def timetable(self) -> Timetable:
        """The report points of the trials."""
        return Timetable(points=self.report_points, rows_per_epoch=self.rows_per_epoch)

    def can_measure(self, split: str) -> bool:
        """Return whether kept checkpoints can be measured on a split after the search."""
        return self.function is None or split in self.function.measured_splits

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``; unknown keys are ignored, missing ones have their default.

        Raises:
            KeyError, TypeError, ValueError: another version stored the plan in another form.
        """
        names = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        values |= {
            name: tuple(values[name])
            for name in ("report_points", "kinds", "tried", "searched", "early")
            if name in values
        }
        values |= {"model": Source.from_json(stored["model"]), "data": DataPlan.from_json(stored["data"])}
        for name, kind in (
            ("precision", Precision),
            ("attention", Attention),
            ("engine", EngineName),
            ("quantisation", Quantisation),
        ):
            if values.get(name) is not None:
                values[name] = kind(values[name])
        if values.get("function") is not None:
            values["function"] = FunctionPlan.from_json(values["function"])
        if values.get("generation") is not None:
            values["generation"] = GenerationPlan.from_json(values["generation"])
        return cls(**values)
