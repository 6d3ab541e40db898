"""The served models, by the names in requests."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.plan import Precision, WeightFormat
from orchestrator.serving.bases import BaseModels
from orchestrator.serving.predictor import Prediction, Predictor
from orchestrator.serving.server.batching import Group, RowTexts, alike
from orchestrator.serving.server.errors import RequestError
from orchestrator.tracking.location import Location

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModels:
    """Loaded models.

    Attributes:
        predictors: by served name.
        bases: their base models.
        batch_rows: most rows computed together.
    """

    predictors: Mapping[str, Predictor]
    bases: BaseModels
    batch_rows: int

    def find(self, model: str | None) -> tuple[str, Predictor]:
        """Return the served name and the predictor.

        Args:
            model: a served name, or ``name/version``; None: the only model.

        Raises:
            RequestError: no such model is served, or None with several models.
        """
        served = ", ".join(self.predictors)
        if model is None:
            if len(self.predictors) == 1:
                return next(iter(self.predictors.items()))
            raise RequestError(422, "model_missing", f"set 'model' to one of the served models: {served}")
        wanted = model.removeprefix("models:/")
        for name, predictor in self.predictors.items():
            if wanted in (name, predictor.reference):
                return name, predictor
        raise RequestError(404, "unknown_model", f"no model {model[:100]!r} is served; served: {served}")

    def compute(self, group: Group, rows: Sequence[RowTexts]) -> list[Prediction]:
        """Return one prediction per row, in order; each row has two texts if the model reads two."""
        predictor = self.predictors[group.model]
        has_pairs = predictor.card.pair_column is not None
        found: dict[int, Prediction] = {}
        for positions in alike([sum(map(len, row)) for row in rows]):
            texts = [rows[position][0] for position in positions]
            pairs = [rows[position][1] for position in positions] if has_pairs else None
            answers = predictor.answers(
                texts, self.batch_rows, group.max_new_tokens, pairs, max_answers=group.max_answers
            )
            found.update(zip(positions, answers, strict=True))
        return [found[position] for position in range(len(rows))]


def served_names(arguments: Sequence[str]) -> dict[str, str]:
    """Return the models of the command line by served name.

    Args:
        arguments: ``NAME``, ``NAME@alias``, ``NAME/version``, a folder, or ``SERVED=`` and one of these. The name of a
            folder is its last part.

    Raises:
        UserError: a name is not allowed or appears twice.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        given, equals, model = argument.partition("=")
        if not equals or not NAME.fullmatch(given) or Path(argument).exists():
            given, model = _default_name(argument), argument
        if not NAME.fullmatch(given):
            raise UserError(
                f"{argument}: {given!r} cannot be the name of a served model (letters, digits and ._@-, at most 100). "
                f"Choose a name: NAME={argument}"
            )
        if given in found:
            raise UserError(
                f"two models with the name {given}: {found[given]} and {model}. Choose a name: NAME={model}"
            )
        found[given] = model
    return found


def load_models(
    arguments: Sequence[str],
    location: Location,
    batch_rows: int = 32,
    device: str = "cpu",
    precision: WeightFormat = Precision.FLOAT32,
) -> ServedModels:
    """Return the loaded models, all with their frozen base weights in the number format ``precision``.

    Raises:
        UserError: see ``served_names`` and ``Predictor.load``.
    """
    names = served_names(arguments)
    bases = BaseModels(device)
    predictors = {
        name: Predictor.load(model, location, device=device, bases=bases, precision=precision)
        for name, model in names.items()
    }
    return ServedModels(predictors=predictors, bases=bases, batch_rows=batch_rows)


def _default_name(model: str) -> str:
    if model.startswith("models:/") or not (model.startswith(("/", ".", "~")) or Path(model).is_dir()):
        return model.removeprefix("models:/").replace("/", "-")
    return Path(model).expanduser().resolve().name
