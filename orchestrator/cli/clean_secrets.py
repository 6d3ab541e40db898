"""``clean --secrets``: mask passwords stored by earlier versions in the ledger, in files and in MLflow."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.screen import Screen
from orchestrator.core.errors import SweepLockedError
from orchestrator.core.system.secrets import redact
from orchestrator.stores import logs_folder, tracking_of

if TYPE_CHECKING:
    from orchestrator.core.sweeps.sweep import SweepRecord
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.tracking.location import Location
    from orchestrator.tracking.runs.stored_secrets import RunSecret

_TEXTS = {".log", ".html", ".json", ".csv", ".yaml", ".txt", ".md", ".out", ".err"}


@dataclass(kw_only=True, slots=True)
class StoredSecrets:
    """The places of stored secrets.

    Attributes:
        rows: sweeps with secrets in the ledger, each with the names of the columns.
        files: files with secrets.
        runs: secrets on MLflow runs, by tracking server.
        unchecked: a sentence for each server without an answer.
    """

    rows: "list[tuple[SweepRecord, tuple[str, ...]]]" = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    runs: "list[tuple[Location, tuple[RunSecret, ...]]]" = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def places(self) -> list[str]:
        """Return one line for each place."""
        places = [f"ledger: {place} of {sweep.reference}" for sweep, places in self.rows for place in places]
        places += [f"file: {path}" for path in self.files]
        return places + [f"MLflow: {secret}" for _, secrets in self.runs for secret in secrets]

    def remaining(self) -> list[str]:
        """Return one line for each secret which cannot be masked or was not searched for."""
        parameters = [str(secret) for _, secrets in self.runs for secret in secrets if secret.kind == "parameter"]
        fixed = [f"MLflow cannot change a parameter: delete the run, or its {line}" for line in parameters]
        return fixed + self.unchecked


def find_secrets(ledger: "Ledger", chosen: "Sequence[SweepRecord]") -> StoredSecrets:
    """Return the stored secrets of these sweeps and of the commands' logs.

    Raises:
        SweepLockedError: one of the sweeps is running.
    """
    from orchestrator.ledger.home import sweep_dir
    from orchestrator.ledger.stored_secrets import stored_secrets
    from orchestrator.tracking.location import locate
    from orchestrator.tracking.refusals import reason
    from orchestrator.tracking.runs.stored_secrets import run_secrets

    stored = StoredSecrets()
    folders = [logs_folder()]
    for sweep in chosen:
        driver = ledger.drivers.live(sweep.id)
        if driver is not None:
            raise SweepLockedError(f"{sweep.reference} is being run by {driver}")
        folders.append(sweep_dir(sweep))
        places = stored_secrets(ledger.database, sweep.id)
        if places:
            stored.rows.append((sweep, places))
        location = locate(tracking_of(sweep))
        try:
            secrets = run_secrets(location, sweep)
        except Exception as error:  # noqa: BLE001  (an unreachable server may raise any error; the rest is still cleaned)
            stored.unchecked.append(f"MLflow at {redact(location.tracking_uri)} was not searched: {reason(error)}")
        else:
            stored.runs += [(location, secrets)] if secrets else []
    stored.files = [path for folder in folders for path in _texts(folder) if _masked(path) is not None]
    return stored


def mask_secrets(ledger: "Ledger", stored: StoredSecrets) -> None:
    """Mask all of them. MLflow comes first, because the ledger's copy of the sweep file may hold its address."""
    from orchestrator.ledger.stored_secrets import mask_stored_secrets
    from orchestrator.tracking.runs.stored_secrets import mask_run_secrets

    for location, secrets in stored.runs:
        mask_run_secrets(location, secrets)
    for path in stored.files:
        masked = _masked(path)
        if masked is not None:
            _replace(path, masked)
    for sweep, _ in stored.rows:
        mask_stored_secrets(ledger.database, sweep.id)


def show_secrets(screen: Screen, stored: StoredSecrets, *, masked: bool, emit: bool) -> None:
    """Show the places before masking, or the result after it; ``emit`` prints the JSON document too."""
    for line in [] if masked else stored.places():
        screen.show(line, soft_wrap=True)
    for line in stored.remaining():
        screen.show(f"! {line}", soft_wrap=True)
    if masked:
        screen.show("the secrets are masked; others may have read them, so change the passwords and tokens")
    if emit:
        screen.emit({"secrets": stored.places(), "left": stored.remaining(), "masked": masked})


def _texts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix in _TEXTS and path.is_file())


def _masked(path: Path) -> bytes | None:
    """Return a file's content with masked secrets, or None if it holds no secret."""
    content = path.read_bytes()
    masked = redact(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return masked if masked != content else None


def _replace(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(path.stat().st_mode & 0o777)
    os.replace(file.name, path)  # noqa: PTH105  (os.replace is the known name for an atomic overwrite)
