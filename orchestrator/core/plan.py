"""What an engine is built from, and when trials report."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from orchestrator.core.data import DataPlan, Source
from orchestrator.core.deepspeed import Config
from orchestrator.core.quantisation import Quantisation
from orchestrator.core.space import ParamValue
from orchestrator.core.timetable import Timetable


class Precision(enum.StrEnum):
    """Number format of training's matrix products; weights, optimiser states and evaluation are float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class EngineName(enum.StrEnum):
    """Which engine trains: one trial in a process of its own, or many over one base."""

    SOLO = "solo"
    PACKED = "packed"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnginePlan:
    """Everything that is the same for all trials of a sweep, in plain picklable values.

    Attributes:
        objective: the objective's name, or the path of the ``.py`` file that holds it.
        model: the base model.
        quantisation: how its frozen linear layers are held; None: as ``precision`` says.
        deepspeed: DeepSpeed's configuration, under which every trial trains by itself; None: without it.
        data: the data and its splits.
        report_points: nominal training samples at which trials report, ascending; see ``timetable``.
        sweep_dir: absolute path of the sweep's folder; trials keep checkpoints in ``trials/<number>/``.
        precision: number format of training's matrix products.
        threads: CPU threads of one trial; of the whole pack, if trials are packed.
        device: ``cpu``, ``cuda`` or ``auto``.
        metric: name of the searched metric; its direction says which checkpoint is best.
        engine: the engine that trains.
        smallest, largest: settings of trials that take least and most time and memory, of those that may come.
        kinds: the settings that decide whether a trial can be packed, for each kind of trial that may come; empty: one.
        rows_per_epoch: see ``Timetable``.
        tried: adapter settings of trials that may come, enough of them to see before the first trial whether peft
            takes all; empty: none is tried.
        searched: the names of the settings that are searched.
        sweep_key: tells the sweep from every other; checkpoints carry it. Empty: there is no sweep.
    """

    objective: str
    model: Source
    data: DataPlan
    report_points: tuple[int, ...]
    sweep_dir: str
    metric: str
    precision: Precision = Precision.AUTO
    threads: int = 1
    device: str = "auto"
    engine: EngineName = EngineName.SOLO
    smallest: Mapping[str, ParamValue] = field(default_factory=dict)
    largest: Mapping[str, ParamValue] = field(default_factory=dict)
    kinds: tuple[Mapping[str, ParamValue], ...] = ()
    quantisation: Quantisation | None = None
    deepspeed: Config | None = None
    rows_per_epoch: int | None = None
    tried: tuple[Mapping[str, ParamValue], ...] = ()
    searched: tuple[str, ...] = ()
    sweep_key: str = ""

    @property
    def timetable(self) -> Timetable:
        """When trials report, and where each ends."""
        return Timetable(points=self.report_points, rows_per_epoch=self.rows_per_epoch)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the plan stored by ``dataclasses.asdict``; unknown keys are ignored.

        Raises:
            KeyError, TypeError, ValueError: another version stored the plan in another form.
        """
        names = {item.name for item in fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        values |= {
            name: tuple(values[name]) for name in ("report_points", "kinds", "tried", "searched") if name in values
        }
        values |= {"model": Source.from_json(stored["model"]), "data": DataPlan.from_json(stored["data"])}
        values |= {"precision": Precision(stored["precision"]), "engine": EngineName(stored["engine"])}
        if values.get("quantisation") is not None:
            values["quantisation"] = Quantisation(values["quantisation"])
        return cls(**values)
