"""``clean``: show disk use and delete stored files."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import SweepLockedError, UserError
from orchestrator.stores import existing_ledger

if TYPE_CHECKING:
    from orchestrator.core.sweeps.sweep import SweepRecord
    from orchestrator.ledger.ledger import Ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskUse:
    """Disk use of one sweep.

    Attributes:
        bytes: size of the sweep's folder.
        checkpoints: size of its sub-folder ``trials/``, in bytes.
        driver: process of the running sweep; None if the sweep is not running.
    """

    sweep: str
    folder: str
    bytes: int
    checkpoints: int
    driver: str | None


def clean(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Sweep name. Default: all sweeps.")] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Delete checkpoints and adapters. Results are kept.")
    ] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Delete the whole sweep: files, trials and study.")] = False,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Mask passwords stored by earlier versions of Loratory, in MLflow too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Show disk use. With --checkpoints or --sweep, delete a sweep's files. Data in MLflow is kept."""
    screen = Screen(as_json=as_json)
    ledger = existing_ledger()
    chosen = _chosen(ledger, name)
    if secrets:
        _clean_secrets(screen, ledger, chosen, yes=yes)
        return
    if not (checkpoints or sweep):
        _show_usage(screen, [_disk_use(ledger, item) for item in chosen if ledger is not None])
        return
    if name is None:
        raise UserError("a sweep name is needed: clean NAME --checkpoints, or clean NAME --sweep")
    assert ledger is not None  # _chosen raises if a name is given without a ledger
    (record,) = chosen
    use = _disk_use(ledger, record)
    if use.driver is not None:
        raise SweepLockedError(f"{use.sweep} is being run by {use.driver}")
    what, target = ("the whole sweep", Path(use.folder)) if sweep else ("checkpoints", Path(use.folder) / "trials")
    freed = use.bytes if sweep else use.checkpoints
    restarted = () if sweep else _unfinished_trials(ledger, record)
    if restarted:
        screen.say(
            f"{use.sweep} is not finished. Without checkpoints, these trials restart from their first sample: "
            + ", ".join(map(str, restarted))
        )
    _confirm(screen, f"{use.sweep}: delete {what}, {_size(freed)} in {target}", yes=yes)
    if sweep:
        from orchestrator.search.sweeps import remove_sweep

        remove_sweep(ledger, record)
    elif target.exists():
        shutil.rmtree(target)
    screen.show(f"deleted {what} of {use.sweep}, {_size(freed)}")
    screen.emit(
        {
            "sweep": use.sweep,
            "removed": "sweep" if sweep else "checkpoints",
            "bytes": freed,
            "start_again": [*restarted],
        }
    )


def _unfinished_trials(ledger: "Ledger", sweep: "SweepRecord") -> tuple[int, ...]:
    """Return the numbers of the trials with a report and no outcome. They resume from their checkpoints."""
    return tuple(record.number for record in ledger.trials.all(sweep.id) if record.reports and not record.ended)


def _clean_secrets(screen: Screen, ledger: "Ledger | None", chosen: "list[SweepRecord]", *, yes: bool) -> None:
    from orchestrator.cli.clean_secrets import find_secrets, mask_secrets, show_secrets

    if ledger is None:
        raise UserError("no ledger found; set LORATORY_HOME")
    stored = find_secrets(ledger, chosen)
    places = stored.places()
    show_secrets(screen, stored, masked=False, emit=not (yes and places))
    if not places:
        screen.show("no stored passwords found")
        return
    _confirm(screen, f"mask the passwords in these {len(places)} places", yes=yes)
    mask_secrets(ledger, stored)
    show_secrets(screen, stored, masked=True, emit=True)


def _chosen(ledger: "Ledger | None", name: str | None) -> "list[SweepRecord]":
    if name is None:
        return [] if ledger is None else [*ledger.sweeps.all()]
    if ledger is None:
        raise UserError(f"sweep {name} not found: no ledger here; set LORATORY_HOME")
    return [ledger.sweeps.find(name)]


def _disk_use(ledger: "Ledger", sweep: "SweepRecord") -> DiskUse:
    from orchestrator.ledger.home import sweep_dir

    folder, driver = sweep_dir(sweep), ledger.drivers.live(sweep.id)
    return DiskUse(
        sweep=sweep.reference,
        folder=str(folder),
        bytes=folder_bytes(folder),
        checkpoints=folder_bytes(folder / "trials"),
        driver=None if driver is None else str(driver),
    )


def folder_bytes(folder: Path) -> int:
    """Return the total size of the files below ``folder``. Files deleted in the meantime are skipped."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


def _show_usage(screen: Screen, uses: list[DiskUse]) -> None:
    from rich.text import Text

    from orchestrator.assets.cache import cache_root

    cache, store = cache_root(), _local_store()
    cached = folder_bytes(cache)
    rows = [(use.sweep, use.bytes, use.folder, f"checkpoints {_size(use.checkpoints)}") for use in uses]
    rows.append(("packaged assets", cached, str(cache), ""))
    if store is not None:
        rows.append(("local MLflow store", store["bytes"], store["folder"], ""))
    width = max(len(name) for name, *_ in rows)
    for name, num_bytes, folder, note in rows:
        # Each path has its own unwrapped line, so that it can be copied.
        screen.show(f"{name:<{width}}  {_size(num_bytes):>9}  {note}".rstrip())
        screen.show(Text(f"    {_relative(Path(folder))}", style="dim"), soft_wrap=True)
    screen.show(
        "\nclean NAME --checkpoints deletes adapters and keeps results\nclean NAME --sweep deletes the whole sweep"
    )
    document = {"sweeps": [asdict(use) for use in uses], "cache": {"folder": str(cache), "bytes": cached}}
    screen.emit({**document, "mlflow": store})


def _local_store() -> "dict[str, Any] | None":
    """Return folder and size in bytes of the local tracking store; None if it is empty or a server is used."""
    from orchestrator.tracking.location import SQLITE, locate

    location = locate()
    if location.artifacts is None:
        return None
    database = Path(location.tracking_uri.removeprefix(SQLITE)).absolute()
    files = [*database.parent.glob(f"{database.name}*")]  # SQLite keeps its log beside the database
    if not files:
        return None
    return {
        "folder": str(database.parent),
        "bytes": sum(file.stat().st_size for file in files) + folder_bytes(location.artifacts),
    }


def _relative(path: Path) -> Path:
    """Return the path relative to the working directory if it is below it, else unchanged."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _confirm(screen: Screen, question: str, *, yes: bool) -> None:
    if yes:
        return
    if screen.as_json or not screen.out.is_terminal:
        raise UserError(f"{question}? No terminal to ask on; --yes confirms")
    typer.confirm(f"{question}?", abort=True)


def _size(num_bytes: int) -> str:
    from orchestrator.report import words

    return words.size(num_bytes)
