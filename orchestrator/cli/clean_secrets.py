"""``clean --secrets``: mask the passwords that earlier versions stored in the ledger, in files and in MLflow."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.screen import Screen
from orchestrator.core.errors import SweepLockedError
from orchestrator.core.secrets import redact
from orchestrator.stores import logs_folder, tracking_of

if TYPE_CHECKING:
    from orchestrator.core.sweep import SweepRecord
    from orchestrator.ledger.ledger import Ledger
    from orchestrator.tracking.location import Location
    from orchestrator.tracking.stored_secrets import RunSecret

_TEXTS = {".log", ".html", ".json", ".csv", ".yaml", ".txt", ".md", ".out", ".err"}


@dataclass(kw_only=True, slots=True)
class Found:
    """What is stored of secrets, and what could not be looked at."""

    rows: "list[tuple[SweepRecord, tuple[str, ...]]]" = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    runs: "list[tuple[Location, tuple[RunSecret, ...]]]" = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return one line for each place."""
        told = [f"ledger: {place} of {sweep.reference}" for sweep, places in self.rows for place in places]
        told += [f"file: {path}" for path in self.files]
        return told + [f"MLflow: {secret}" for _, secrets in self.runs for secret in secrets]

    def left(self) -> list[str]:
        """Return what stays although it was found, or may be there."""
        kept = [str(secret) for _, secrets in self.runs for secret in secrets if secret.kind == "parameter"]
        return [f"MLflow changes no parameter: delete the run, or its {line}" for line in kept] + self.unreached


def find_secrets(ledger: "Ledger", chosen: "Sequence[SweepRecord]") -> Found:
    """Return every secret that is stored of these sweeps, and in the commands' logs.

    Raises:
        SweepLockedError: one of them is being run.
    """
    from orchestrator.ledger.home import sweep_dir
    from orchestrator.ledger.stored_secrets import stored_secrets
    from orchestrator.tracking.location import locate
    from orchestrator.tracking.refusals import reason
    from orchestrator.tracking.stored_secrets import run_secrets

    found = Found()
    folders = [logs_folder()]
    for sweep in chosen:
        driver = ledger.drivers.live(sweep.id)
        if driver is not None:
            raise SweepLockedError(f"{sweep.reference} is being run by {driver}")
        folders.append(sweep_dir(sweep))
        places = stored_secrets(ledger.database, sweep.id)
        if places:
            found.rows.append((sweep, places))
        location = locate(tracking_of(sweep))
        try:
            secrets = run_secrets(location, sweep)
        except Exception as error:  # noqa: BLE001  (a server that is away raises anything; the rest is still cleaned)
            found.unreached.append(f"MLflow at {redact(location.tracking_uri)} was not looked at: {reason(error)}")
        else:
            found.runs += [(location, secrets)] if secrets else []
    found.files = [path for folder in folders for path in _texts(folder) if _masked(path) is not None]
    return found


def mask_secrets(ledger: "Ledger", found: Found) -> None:
    """Mask all of them; MLflow first, because the ledger's file may say where it is."""
    from orchestrator.ledger.stored_secrets import mask_stored_secrets
    from orchestrator.tracking.stored_secrets import mask_run_secrets

    for location, secrets in found.runs:
        mask_run_secrets(location, secrets)
    for path in found.files:
        masked = _masked(path)
        if masked is not None:
            _replace(path, masked)
    for sweep, _ in found.rows:
        mask_stored_secrets(ledger.database, sweep.id)


def tell(screen: Screen, found: Found, *, done: bool, last: bool = True) -> None:
    """Say what was found, or what was done; the JSON document is printed if this is the ``last`` that is said."""
    for line in [] if done else found.lines():
        screen.show(line, soft_wrap=True)
    for line in found.left():
        screen.show(f"! {line}", soft_wrap=True)
    if done:
        screen.show(
            "the secrets are masked; other people may have read them before, so change the passwords and tokens"
        )
    document = {"secrets": found.lines(), "left": found.left(), "masked": done}
    if last:
        screen.emit(document)


def _texts(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.suffix in _TEXTS and path.is_file())


def _masked(path: Path) -> bytes | None:
    """Return a file's content without its secrets, or None if it has none."""
    content = path.read_bytes()
    masked = redact(content.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    return masked if masked != content else None


def _replace(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(path.stat().st_mode & 0o777)
    os.replace(file.name, path)  # noqa: PTH105  (pathlib's does not say that it replaces)
