"""The origin of a registered version: its card, and the code that trained it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from orchestrator.tracking.cards.model_card import GateLine
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.logged_models.adapters import CARD, AdapterCard
from orchestrator.tracking.registered.registry import Version
from orchestrator.tracking.runs.wording import PARENT_TAG

GATES_TAG = "mlflow.loratory.gates"
"""Tag of a version with all gates as JSON."""
EARLY_GATES_TAG, GATE_TAG = "loratory.gates", "gate/"
"""The same tag, and the beginning of the tag of each gate, written by versions before 0.3."""
PACKAGE_TAG = "version/"
COMMIT_TAG = "mlflow.source.git.commit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """The origin of a version.

    Attributes:
        card: the adapter's card; None for a version of another program.
        commit: the commit of the checkout; None: unknown, or the run was deleted.
        packages: versions of the packages with influence on results; empty: unknown.
    """

    card: AdapterCard | None = None
    commit: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


def lineage(location: Location, version: Version) -> Lineage:
    """Return the origin of a version, from its logged model and its run."""
    commit, packages = _code(location, version.run_id)
    return Lineage(card=card_of(location, version), commit=commit, packages=packages)


def gates_tag(gates: Sequence[GateLine]) -> dict[str, str]:
    """Return the tag of a version with the gates of its promotion."""
    return {GATES_TAG: json.dumps([asdict(item) for item in gates], ensure_ascii=False)}


def gate_lines(version: Version) -> tuple[GateLine, ...]:
    """Return the gates of a version's promotion, from its tags; early versions stored no compared values."""
    stored = version.tags.get(GATES_TAG, version.tags.get(EARLY_GATES_TAG))
    if stored is not None:
        return tuple(GateLine(**item) for item in json.loads(stored))
    found = ((key.removeprefix(GATE_TAG), value) for key, value in version.tags.items() if key.startswith(GATE_TAG))
    return tuple(GateLine(gate=name, verdict=verdict) for name, verdict in sorted(found))


def card_of(location: Location, version: Version) -> AdapterCard | None:
    """Return the card of a version's adapter; None for a version of another program."""
    if not version.model_id:
        return None
    mlflow = load_mlflow()
    folder = connect(location).get_logged_model(version.model_id).artifact_location.rstrip("/")
    with tempfile.TemporaryDirectory() as target:
        file = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{folder}/artifacts/adapter/{CARD}", tracking_uri=location.tracking_uri, dst_path=target
        )
        return AdapterCard.from_json(json.loads(Path(file).read_text(encoding="utf-8")))


def _code(location: Location, run_id: str | None) -> tuple[str | None, Mapping[str, str]]:
    """Return the commit of a trial's run and the packages of its parent; nothing if the runs were deleted."""
    load_mlflow()
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None, {}
    client = connect(location)
    try:
        tags = client.get_run(run_id).data.tags
        parent = client.get_run(tags[PARENT_TAG]).data.tags if PARENT_TAG in tags else {}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None, {}
    packages = {key.removeprefix(PACKAGE_TAG): value for key, value in parent.items() if key.startswith(PACKAGE_TAG)}
    return tags.get(COMMIT_TAG), packages
