"""The description of a registered model in MLflow: written at each move of the champion, unless a person edited it."""

import hashlib
import logging
from typing import TYPE_CHECKING

from orchestrator.core.system.secrets import redact
from orchestrator.tracking.cards.registered_model import model_description
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.refusals import is_refusal
from orchestrator.tracking.registered.lineage import card_of
from orchestrator.tracking.registered.registry import CHAMPION, Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from orchestrator.tracking.logged_models.adapters import AdapterCard

METRIC_TAG = "metric"
"""Tag of a version: the searched metric."""
DESCRIPTION_TAG = "mlflow.loratory.description"
"""Tag of a registered model: digests of the descriptions written last."""
logger = logging.getLogger(__name__)


def describe_model(location: Location, name: str) -> None:
    """Write the description of a registered model, as its champion is now; one edited by a person stays.

    A refusal of the store, or an unreadable card, is logged: the registry is complete without the text.

    Raises:
        MlflowException: the store does not answer.
    """
    try:
        holder = Registry(location).holder(name, CHAMPION)
        card = None if holder is None else card_of(location, holder)
        metric = None if holder is None or card is None else _main_metric(card, holder.tags.get(METRIC_TAG))
        text = model_description(name, None if holder is None else holder.version, card, metric)
        _write(connect(location), name, redact(text))
    except Exception as error:  # errors of MLflow, of its HTTP client and of SQL have no common base
        if not (is_refusal(error) or isinstance(error, OSError)):
            raise
        logger.warning("the model %s has no new description: %s", name, error)


def _main_metric(card: "AdapterCard", searched: str | None) -> str | None:
    """Return the searched metric on test rows, else on validation rows; None: the card has neither.

    Args:
        card: the adapter's card.
        searched: the searched metric; None: an early version of Loratory registered the adapter.
    """
    if searched is None:
        return next((name for name in card.metrics if name in card.intervals and name.startswith("test/")), None)
    name = searched.rpartition("/")[2]
    return next((each for each in (f"test/{name}", f"best_val_{name}") if each in card.metrics), None)


def _write(client: "MlflowClient", name: str, text: str) -> None:
    model = client.get_registered_model(name)
    current = model.description or ""
    if current == text or (current and _digest(current) not in model.tags.get(DESCRIPTION_TAG, "").split()):
        return
    # First the tag, with both digests: a process killed before the second write leaves a description of its own.
    client.set_registered_model_tag(name, DESCRIPTION_TAG, f"{_digest(current)} {_digest(text)}")
    client.update_registered_model(name, text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
