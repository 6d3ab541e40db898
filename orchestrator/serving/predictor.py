"""Predictions with a registered model or an exported folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.assets.model_files import check_model_folder
from orchestrator.assets.models import resolve_model
from orchestrator.core.data import Source
from orchestrator.core.errors import UserError
from orchestrator.core.methods.quantisation import format_of, require_package
from orchestrator.core.sweeps.plan import Precision, WeightFormat
from orchestrator.core.system.environment import program
from orchestrator.core.tasks.problem import Problem
from orchestrator.objective.protocol import Head
from orchestrator.serving.bases import BaseModels
from orchestrator.tracking.location import Location
from orchestrator.tracking.logged_models.adapters import CARD, AdapterCard, read_card
from orchestrator.tracking.logged_models.runners import format_refusals, load_base_in, require_format, runner_class
from orchestrator.tracking.refusals import model_refusals
from orchestrator.tracking.registered.registry import ModelReference, Registry, registry_errors

if TYPE_CHECKING:
    from orchestrator.objective.extractive_qa.answer_spans import ScoredAnswer
    from orchestrator.tracking.logged_models.adapter_model import AdapterRunner
    from orchestrator.tracking.logged_models.entity_model import Entity

SHOWN = 5
"""Most answers found in the context of a row, unless the caller sets another number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A model's answer to one text.

    Attributes:
        text: the input.
        answer: the most probable label; the labels with a probability above one half, separated by commas; the
            predicted numbers; the generated text; or a part of the context. None for a blank text.
        probabilities: by label, in [0, 1], with sum 1 for one label per text; empty for generated text and numbers.
        values: predicted numbers by name; empty for other tasks.
        score: the answer's probability, if it is one of several labels; None for other tasks and a blank text.
        cut: whether the limit of tokens ended a generated answer; None for other tasks and a blank text.
        entities: the entities found in the text, with their characters; None for other tasks and a blank text.
        answers: the best answers in a context with their places; ``answer`` is empty if the context has none. Empty for
            other tasks.
    """

    text: str
    answer: str | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    cut: bool | None = None
    entities: "Sequence[Entity] | None" = None
    answers: "Sequence[ScoredAnswer]" = ()


class Predictor:
    """A base model with an adapter, loaded once, for any number of texts."""

    def __init__(
        self, runner: "AdapterRunner", card: AdapterCard, located: "_Located", *, calibrated: bool = False
    ) -> None:
        self._runner = runner
        self._calibrated = calibrated
        self.card = card
        self.reference = located.reference
        """The loaded model: ``name/version`` or the folder."""
        self.registered = located.registered
        """Whether the model is a registered version."""
        self.max_new_tokens = runner.max_new_tokens
        """Most tokens of a generated answer, unless the caller sets another number."""

    @classmethod
    def load(
        cls,
        model: str,
        location: Location,
        *,
        resolve: Callable[[Source], str] = resolve_model,
        device: str = "cpu",
        calibrated: bool = False,
        bases: BaseModels | None = None,
        precision: WeightFormat = Precision.FLOAT32,
    ) -> Self:
        """Return the predictor of a model.

        Args:
            model: ``NAME`` (its champion, else its newest version), ``NAME@alias``, ``NAME/version``, or the path of
                an exported folder.
            location: the tracking server and registry.
            resolve: returns the base model's folder or hub id.
            device: ``cpu`` or ``cuda``.
            calibrated: whether the logits are divided by the adapter's temperature.
            bases: the loaded base models, shared with other predictors; None: this one loads its own.
            precision: number format of the frozen base weights; adapter and head are in float32.

        Raises:
            UserError: the model does not exist, the package for its quantised base model is not installed, the
                adapter has no temperature, or the base model cannot be used in this number format.
            AssetError: the base model cannot be loaded.
            ModelError: the base model's files are damaged, or its folder also contains an adapter.
        """
        located = _locate(model, location)
        folder, reference = located.folder, located.reference
        card = read_card(folder)
        if card.is_function:
            raise UserError(
                f"{reference} was trained by a function, so only its own code can load it: define load(folder) in the "
                f'function\'s file, and use mlflow.pyfunc.load_model("models:/{reference}").predict(...)'
            )
        if calibrated and card.problem != Problem.SINGLE_LABEL:
            raise UserError(
                f"--calibrated: {reference} solves {card.problem.replace('_', ' ')}; only models with one label per "
                "text have a temperature. Leave out --calibrated"
            )
        if calibrated and card.temperature is None:
            raise UserError(
                f"--calibrated: {reference} has no temperature; this version fits one for the kept classifiers of a "
                "sweep. Run a new sweep, or leave out --calibrated"
            )
        require_format(card, precision, reference)
        if card.quantisation is not None:
            require_package(format_of(card.quantisation))
        base = resolve(card.base)
        if Path(base).is_dir():
            check_model_folder(Path(base))
        if bases is None:
            base_model = load_base_in(precision, card, base, device)
        else:
            base_model = bases.model_for(folder, card, base, precision)
        with format_refusals(precision):
            runner = runner_class(card.head)(folder, base, device, base_model)
        return cls(runner, card, located, calibrated=calibrated)

    def predict(
        self,
        texts: Sequence[str],
        batch_size: int = 32,
        progress: Callable[[int], None] = lambda _count: None,
        pairs: Sequence[str] | None = None,
        max_new_tokens: int | None = None,
        max_answers: int = SHOWN,
    ) -> list[Prediction]:
        """Return one prediction per text, in order; blank texts get no answer.

        Args:
            texts: the texts.
            batch_size: texts per batch.
            progress: called after each batch with the number of texts answered so far, blank ones left out.
            pairs: the second text of each row, for a model of pairs; None for other models.
            max_new_tokens: most tokens of a generated answer; None: the adapter's own limit.
            max_answers: most answers found in the context of a row.

        Raises:
            UserError: the model needs second texts and gets none, or gets some and needs none.
        """
        rows = [*zip(texts, texts if pairs is None else pairs, strict=True)]
        full = [row for row in rows if all(map(str.strip, row))]
        found: list[Prediction] = []
        for start in range(0, len(full), batch_size):
            some = [*zip(*full[start : start + batch_size], strict=True)]
            found += self.answers(
                some[0], batch_size, max_new_tokens, None if pairs is None else some[1], max_answers=max_answers
            )
            progress(len(found))
        answers = iter(found)
        return [next(answers) if all(map(str.strip, row)) else Prediction(text=row[0], answer=None) for row in rows]

    def answers(
        self,
        texts: Sequence[str],
        batch_size: int = 32,
        max_new_tokens: int | None = None,
        pairs: Sequence[str] | None = None,
        *,
        max_answers: int = SHOWN,
    ) -> list[Prediction]:
        """Return one prediction per text, in order; no text is blank.

        Args:
            texts: the texts.
            batch_size: texts per batch.
            max_new_tokens: most tokens of a generated answer; None: the adapter's own limit.
            pairs: the second text of each row, for a model of pairs; None for other models.
            max_answers: most answers found in the context of a row.

        Raises:
            UserError: the model needs second texts and gets none, or gets some and needs none; or it refuses a text,
                such as a conversation beyond its positions.
        """
        with model_refusals():
            self._check_pairs(pairs)
            if self.card.head == Head.QUESTION_ANSWERING:
                return self._found(texts, pairs or (), batch_size, max_answers)
            return self._answers(texts, batch_size, max_new_tokens, pairs)

    def _check_pairs(self, pairs: Sequence[str] | None) -> None:
        if (pairs is None) == (self.card.pair_column is not None):
            need = (
                f"two texts a row, {self.card.text_column} and {self.card.pair_column}" if pairs is None else "one text"
            )
            raise UserError(f"{self.reference} was trained on rows of {need}; see predict --pair-column")

    def _answers(
        self, texts: Sequence[str], batch_size: int, max_new_tokens: int | None, pairs: Sequence[str] | None
    ) -> list[Prediction]:
        labels = self.card.labels
        if self.card.head == Head.TOKEN_CLASSIFICATION:
            return self._entities(texts, batch_size)
        if not labels:
            answers = self._runner.generate(texts, batch_size, max_new_tokens)
            return [
                Prediction(text=text, answer=answer.text, cut=answer.cut)
                for text, answer in zip(texts, answers, strict=True)
            ]
        rows = self._runner.probabilities(texts, batch_size, pairs)
        by_label = [dict(zip(labels, row, strict=True)) for row in rows]
        if self.card.problem == Problem.REGRESSION:
            return [
                Prediction(text=text, answer=numbers_text(row), values=row)
                for text, row in zip(texts, by_label, strict=True)
            ]
        if self.card.problem == Problem.MULTI_LABEL:
            return [
                Prediction(text=text, answer=labels_text(row), probabilities=row)
                for text, row in zip(texts, by_label, strict=True)
            ]
        best = [max(row, key=row.__getitem__) for row in by_label]
        found = [
            Prediction(text=text, answer=answer, probabilities=row, score=row[answer])
            for text, answer, row in zip(texts, best, by_label, strict=True)
        ]
        return self.calibrated(found) if self._calibrated else found

    def _entities(self, texts: Sequence[str], batch_size: int) -> list[Prediction]:
        """Return the entities of the texts; ``answer`` lists them in words."""
        from orchestrator.tracking.logged_models.entity_model import EntityRunner

        assert isinstance(self._runner, EntityRunner), "the head decides the runner"
        found = self._runner.entities(texts, batch_size)
        return [
            Prediction(text=text, answer=entities_text(some), entities=tuple(some))
            for text, some in zip(texts, found, strict=True)
        ]

    def _found(
        self, questions: Sequence[str], contexts: Sequence[str], batch_size: int, max_answers: int
    ) -> list[Prediction]:
        """Return the answers found in the contexts; ``answer`` is empty for no answer."""
        from orchestrator.tracking.logged_models.answer_model import AnswerRunner

        assert isinstance(self._runner, AnswerRunner), "the head decides the runner"
        records = self._runner.answers(questions, contexts, batch_size, max_answers)
        return [
            Prediction(text=text, answer=one["answer"], score=one["score"], answers=tuple(one["answers"]))
            for text, one in zip(questions, records, strict=True)
        ]

    def calibrated(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Return a classifier's predictions with probabilities at the adapter's temperature; the answers stay the same.

        The adapter has a temperature.
        """
        rows = self._runner.calibrated([[*each.probabilities.values()] for each in predictions])
        by_label = [
            dict(zip(each.probabilities, row, strict=True)) for each, row in zip(predictions, rows, strict=True)
        ]
        return [
            replace(each, probabilities=row, score=None if each.answer is None else row[each.answer])
            for each, row in zip(predictions, by_label, strict=True)
        ]


def numbers_text(values: Mapping[str, float]) -> str:
    """Return predicted numbers with four significant digits, several ones with their names."""
    if len(values) == 1:
        return f"{next(iter(values.values())):.4g}"
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def entities_text(entities: "Sequence[Entity]") -> str:
    """Return the entities in words: ``PERSON: Anna; PLACE: New York``, or ``(no entity)``."""
    return "; ".join(f"{one['label']}: {one['text']}" for one in entities) or "(no entity)"


def labels_text(probabilities: Mapping[str, float]) -> str:
    """Return the labels with a probability above one half, or ``(no label)``."""
    return ", ".join(name for name, probability in probabilities.items() if probability > 0.5) or "(no label)"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Located:
    folder: Path
    reference: str
    registered: bool


def _locate(model: str, location: Location) -> _Located:
    """Return the adapter's folder and its reference: ``name/version`` or the folder."""
    folder = Path(model).expanduser()
    path_like = model.startswith(("/", ".", "~")) or model.removeprefix("models:/").count("/") > 1
    if model and _is_dir(folder) and (path_like or "/" in model or (folder / CARD).is_file()):
        return _Located(folder=folder, reference=str(folder), registered=False)
    if path_like:
        problem = "is a file" if folder.is_file() else "does not exist"
        raise UserError(
            f"{model} {problem}; a model is NAME, NAME@alias, NAME/version, or a folder written by `{program()} export`"
        )
    with registry_errors(location):
        registry = Registry(location)
        try:
            version = registry.get(ModelReference.parse(model))
        except UserError:
            if model and _is_dir(folder):
                return _Located(folder=folder, reference=str(folder), registered=False)
            raise
        return _Located(folder=registry.download(version), reference=version.reference, registered=True)


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the name is too long for a path
        return False
