"""Trained adapters as folders, complete for use elsewhere.

A staged adapter is a standard PEFT folder with its tokenizer, a README and the card ``loratory.json``: base model,
head, class names, origin.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from orchestrator.assets.catalogue import CATALOGUE
from orchestrator.core.data import DataPlan, Origin, Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.catalogue import takers
from orchestrator.core.methods.quantisation import Quantisation, loading_arguments
from orchestrator.core.metric import Metric
from orchestrator.core.space import ParamValue
from orchestrator.core.sweeps.sweep import SweepRecord
from orchestrator.core.trials.manifest import read
from orchestrator.core.trials.trial import TrialRecord
from orchestrator.evaluation.calibration import kept_calibration
from orchestrator.evaluation.extractive_qa.row_scores import tuned_threshold
from orchestrator.evaluation.measurement_file import kept_validation
from orchestrator.evaluation.scores.adapter_intervals import GAP, adapter_intervals
from orchestrator.evaluation.scores.score_intervals import MetricInterval
from orchestrator.objective.protocol import Head
from orchestrator.tracking.runs.description import sweep_key
from orchestrator.tracking.runs.summary import OVERFIT_GAP, summary

CARD = "loratory.json"
CONFIG = "adapter_config.json"
FUNCTION = "function"
"""The head of a function's checkpoint: its files and its framework are the function's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitData:
    """The rows of one split.

    Attributes:
        split: ``train``, ``validation``, ``test`` or ``shift/<set>``.
        source: origin of the rows: a packaged name, ``hub:org/name`` or a path.
        rows: number of rows; None: unknown.
        digest: identifies the rows.
        licence: licence of the data; None: unknown.
    """

    split: str
    source: str
    rows: int | None
    digest: str
    licence: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterCard:
    """The facts about one adapter, beside its weights.

    Attributes:
        base: the base model as the sweep file names it.
        base_path: the folder or hub id of the base model in training.
        quantisation: arguments of transformers' ``BitsAndBytesConfig`` for the base model; None: not quantised.
        head: ``sequence_classification``, ``token_classification``, ``causal_lm``, ``seq2seq_lm`` or ``function``.
        labels: names of the classes or of the predicted numbers, in the order of their ids; empty for heads that write.
        problem: ``single_label_classification``, ``multi_label_classification`` or ``regression``.
        max_length: longest input in tokens; longer inputs are cut, as in training.
        prompt: the prompt of a language model, with ``{text}`` for the input.
        max_new_tokens: most tokens of an answer unless the caller sets another number; None: the task writes no text,
            or an early version wrote the card.
        chat: whether the task has conversations, rendered by the tokenizer's chat template.
        chat_template: the text of the template that replaces the tokenizer's own; None: its own.
        text_column: the text column in the training data.
        pair_column: its column with the second text of each row; None: rows have one text.
        objective: the objective's name.
        sweep, sweep_key, trial, samples: the checkpoint: ``name#generation``, the sweep's key, the trial's number and
            its training samples.
        measured_at: time of the checkpoint's measurement, in seconds since the epoch.
        label_values: class name by value in the data.
        label_counts: number of rows by split and class name.
        metrics: summary, shift and test metrics of this checkpoint.
        intervals: interval of each metric with stored rows: ``low``, ``high``, ``level``, ``rows``, ``seed_sd`` ...
        params: the trial's searched parameters.
        rslora: whether the scaling is alpha / sqrt(rank); some programs ignore it.
        padding_side: the side of the padding in a classifier's rows, ``right`` or ``left``.
        temperature: divisor of the logits, fitted on the validation rows; None: not fitted.
        no_answer_threshold: margin above which a question has no answer, tuned on the validation rows; None: every
            question has one.
        seed: the trial's seed; None: unknown, as in cards of early versions.
        data: the rows by split; empty: unknown.
        function_digest: digest of the function's file; None: no function, or unknown.
        method: the trial's method; None: a function, or unknown.
    """

    base: Source
    base_path: str
    head: str
    labels: tuple[str, ...]
    max_length: int
    objective: str
    sweep: str
    sweep_key: str
    trial: int
    samples: int
    measured_at: float
    problem: str = "single_label_classification"
    prompt: str = "{text}"
    max_new_tokens: int | None = None
    chat: bool = False
    chat_template: str | None = None
    text_column: str = "text"
    pair_column: str | None = None
    quantisation: Mapping[str, Any] | None = None
    label_values: Mapping[str, str] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, MetricInterval] = field(default_factory=dict)
    params: Mapping[str, ParamValue] = field(default_factory=dict)
    rslora: bool = False
    padding_side: str = "right"
    temperature: float | None = None
    no_answer_threshold: float | None = None
    seed: int | None = None
    data: tuple[SplitData, ...] = ()
    function_digest: str | None = None
    method: str | None = None

    @property
    def is_function(self) -> bool:
        """Whether a function trained the model: only its own code can load it."""
        return self.head == FUNCTION

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "AdapterCard":
        """Return the card written by ``to_json``; unknown keys, of a later version, are ignored."""
        base = {**data["base"], "origin": Origin(data["base"]["origin"])}
        intervals = {name: MetricInterval(**each) for name, each in data.get("intervals", {}).items()}
        splits = tuple(SplitData(**each) for each in data.get("data", ()))
        given = {
            **data,
            "base": Source(**base),
            "labels": tuple(data["labels"]),
            "intervals": intervals,
            "data": splits,
        }
        names = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in names})


def read_card(folder: Path) -> AdapterCard:
    """Return the card of a staged adapter.

    Raises:
        UserError: the folder holds no adapter exported by Loratory.
    """
    missing = [name for name in (CONFIG, CARD) if not (folder / name).is_file()]
    card = None
    if CARD not in missing:
        card = AdapterCard.from_json(json.loads((folder / CARD).read_text(encoding="utf-8")))
    if card is None or (missing and not card.is_function):
        raise UserError(f"{folder} is not an exported adapter: {', '.join(missing)} is missing")
    return card


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepAdapters:
    """The adapters of a sweep: their folder and their common facts.

    Attributes:
        sweep_dir: the sweep's folder; checkpoint paths in reports are relative to it.
        metric: decides the best checkpoint of a trial.
        base, base_path, head, labels, problem, objective, prompt, text_column, pair_column: as in ``AdapterCard``.
        max_new_tokens, chat, chat_template: as in ``AdapterCard``.
        label_values, label_counts, function_digest: as in ``AdapterCard``.
        quantisation: quantisation of the base model; None: not quantised.
    """

    sweep_dir: Path
    metric: Metric
    base: Source
    base_path: str
    head: str
    labels: tuple[str, ...]
    objective: str
    problem: str = "single_label_classification"
    prompt: str = "{text}"
    max_new_tokens: int | None = None
    chat: bool = False
    chat_template: str | None = None
    text_column: str = "text"
    pair_column: str | None = None
    quantisation: Quantisation | None = None
    label_values: Mapping[str, str] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    function_digest: str | None = None

    def folder(self, trial: TrialRecord) -> Path | None:
        """Return the folder of the trial's best adapter; None if it was deleted or is damaged."""
        best = trial.best(self.metric)
        if best is None or best.checkpoint is None:
            return None
        folder = self.sweep_dir / best.checkpoint / "adapter"
        exists = folder.is_dir() if self.head == FUNCTION else (folder / CONFIG).is_file()
        return folder if exists and self.damage(trial) is None else None

    def damage(self, trial: TrialRecord) -> str | None:
        """Return the damage of the trial's best adapter in words; None if it is whole or deleted."""
        best = trial.best(self.metric)
        if best is None or best.checkpoint is None or not (self.sweep_dir / best.checkpoint / "adapter").is_dir():
            return None
        manifest = read(self.sweep_dir / best.checkpoint)
        return None if manifest is None else manifest.damage(self.sweep_dir / best.checkpoint, "adapter/")

    def card(self, sweep: SweepRecord, trial: TrialRecord) -> AdapterCard:
        """Return the card of the trial's best checkpoint.

        Raises:
            UserError: the trial has no score, so no best checkpoint.
        """
        best = trial.best(self.metric)
        if best is None:
            raise UserError(f"trial {trial.number} of {sweep.reference} has no value of {self.metric.name}")
        calibration = kept_calibration(self.sweep_dir, trial, self.metric)
        answers = self.head == Head.QUESTION_ANSWERING
        validation = kept_validation(self.sweep_dir, trial, self.metric) if answers else None
        return AdapterCard(
            base=self.base,
            base_path=self.base_path,
            head=self.head,
            labels=self.labels,
            problem=self.problem,
            prompt=self.prompt,
            max_new_tokens=self.max_new_tokens,
            chat=self.chat,
            chat_template=self.chat_template,
            text_column=self.text_column,
            pair_column=self.pair_column,
            quantisation=None if self.quantisation is None else loading_arguments(self.quantisation),
            label_values=self.label_values,
            label_counts=self.label_counts,
            max_length=trial.settings.max_length,
            objective=self.objective,
            sweep=sweep.reference,
            sweep_key=sweep_key(sweep),
            trial=trial.number,
            samples=best.nominal_samples,
            measured_at=best.ended_at,
            metrics=summary(best.nominal_samples, trial.at_best(self.metric)) | dict(trial.measured_last),
            intervals=self._intervals(trial, trial.training_rows(sweep.facts.rows.get("train"))),
            temperature=None if calibration is None else calibration.temperature.value,
            no_answer_threshold=None if validation is None else tuned_threshold(validation.rows.scores),
            params=dict(trial.params),
            seed=trial.seed,
            data=split_data(sweep),
            function_digest=self.function_digest,
            method=None if self.head == FUNCTION else trial.settings.method,
            rslora=trial.settings.rslora and trial.settings.method in takers("rslora"),
        )

    def _intervals(self, trial: TrialRecord, training_rows: int | None) -> dict[str, MetricInterval]:
        """Return the intervals of the card's metrics; none without stored rows."""
        found = adapter_intervals(self.sweep_dir, trial, self.metric, training_rows)
        return {OVERFIT_GAP if name == GAP else name: interval for name, interval in found.items()}


def split_data(sweep: SweepRecord) -> tuple[SplitData, ...]:
    """Return the rows of a sweep by split, with the digests and sources of its fingerprint."""
    digests, stored = sweep.fingerprint.get("rows"), sweep.fingerprint.get("data")
    if not digests or not stored:
        return ()
    plan = DataPlan.from_json(stored)
    found = []
    for split, digest in digests.items():
        source = plan.shift.get(split.removeprefix("shift/"), plan.source)
        asset = CATALOGUE.get(source.name) if source.origin is Origin.PACKAGED else None
        licence = None if asset is None else asset.package.licence
        rows = sweep.facts.rows.get(split)
        found.append(SplitData(split=split, source=str(source), rows=rows, digest=digest, licence=licence))
    return tuple(found)
