"""``clean``: what takes disk, and its removal when that is asked for."""

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
    from orchestrator.core.sweep import SweepRecord
    from orchestrator.ledger.ledger import Ledger


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What one sweep takes on disk, in bytes; ``checkpoints`` is what the folder ``trials/`` takes of it."""

    sweep: str
    folder: str
    bytes: int
    checkpoints: int
    driver: str | None


def clean(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One sweep; all of them if absent.")] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="Remove checkpoints and adapters; the results stay.")
    ] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Remove the sweep: its files, trials and study.")] = False,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Mask passwords that earlier versions stored, in MLflow too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """List what takes disk; with --checkpoints or --sweep, remove what a sweep takes. What MLflow holds stays."""
    screen = Screen(as_json=as_json)
    ledger = existing_ledger()
    chosen = _chosen(ledger, name)
    if secrets:
        _clean_secrets(screen, ledger, chosen, yes=yes)
        return
    if not (checkpoints or sweep):
        _list(screen, [_use(ledger, item) for item in chosen if ledger is not None])
        return
    if name is None:
        raise UserError("name the sweep to remove from: clean NAME --checkpoints, or clean NAME --sweep")
    assert ledger is not None  # the name was found in it
    (found,) = chosen
    use = _use(ledger, found)
    if use.driver is not None:
        raise SweepLockedError(f"{use.sweep} is being run by {use.driver}")
    what, target = ("the whole sweep", Path(use.folder)) if sweep else ("checkpoints", Path(use.folder) / "trials")
    freed = use.bytes if sweep else use.checkpoints
    begin_again = () if sweep else _begin_again(ledger, found)
    if begin_again:
        screen.say(
            f"{use.sweep} is not finished. Without their checkpoints these trials start again from their first sample: "
            + ", ".join(map(str, begin_again))
        )
    _confirm(screen, f"{use.sweep}: remove {what}, {_size(freed)} in {target}", yes=yes)
    if sweep:
        from orchestrator.search.sweeps import remove_sweep

        remove_sweep(ledger, found)
    elif target.exists():
        shutil.rmtree(target)
    screen.show(f"removed {what} of {use.sweep}, {_size(freed)}")
    screen.emit(
        {
            "sweep": use.sweep,
            "removed": "sweep" if sweep else "checkpoints",
            "bytes": freed,
            "start_again": [*begin_again],
        }
    )


def _begin_again(ledger: "Ledger", sweep: "SweepRecord") -> tuple[int, ...]:
    """Return the numbers of the trials that have reported and have not ended: they train on from their checkpoints."""
    return tuple(record.number for record in ledger.trials.all(sweep.id) if record.reports and not record.ended)


def _clean_secrets(screen: Screen, ledger: "Ledger | None", chosen: "list[SweepRecord]", *, yes: bool) -> None:
    from orchestrator.cli.clean_secrets import find_secrets, mask_secrets, tell

    if ledger is None:
        raise UserError("there is no ledger here")
    found = find_secrets(ledger, chosen)
    tell(screen, found, done=False, last=not (yes and found.lines()))
    if not found.lines():
        screen.show("no password is stored")
        return
    _confirm(screen, f"mask the passwords in these {len(found.lines())} places", yes=yes)
    mask_secrets(ledger, found)
    tell(screen, found, done=True)


def _chosen(ledger: "Ledger | None", name: str | None) -> "list[SweepRecord]":
    if name is None:
        return [] if ledger is None else [*ledger.sweeps.all()]
    if ledger is None:
        raise UserError(f"there is no sweep {name}: there is no ledger here")
    return [ledger.sweeps.find(name)]


def _use(ledger: "Ledger", sweep: "SweepRecord") -> Use:
    from orchestrator.ledger.home import sweep_dir

    folder, driver = sweep_dir(sweep), ledger.drivers.live(sweep.id)
    return Use(
        sweep=sweep.reference,
        folder=str(folder),
        bytes=taken(folder),
        checkpoints=taken(folder / "trials"),
        driver=None if driver is None else str(driver),
    )


def taken(folder: Path) -> int:
    """Return the bytes of all files below ``folder``; files that vanish meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if not path.is_dir() else 0
        except FileNotFoundError:
            continue
    return total


def _list(screen: Screen, uses: list[Use]) -> None:
    from rich.text import Text

    from orchestrator.assets.cache import cache_root

    cache, store = cache_root(), _local_store()
    cached = taken(cache)
    rows = [(use.sweep, use.bytes, use.folder, f"{_size(use.checkpoints)} of it checkpoints") for use in uses]
    rows.append(("packaged assets", cached, str(cache), ""))
    if store is not None:
        rows.append(("MLflow's local store", store["bytes"], store["folder"], ""))
    wide = max(len(what) for what, *_ in rows)
    for what, num_bytes, folder, note in rows:
        # A path has a line of its own: it can be copied whole, however narrow the screen is.
        screen.show(f"{what:<{wide}}  {_size(num_bytes):>9}  {note}".rstrip())
        screen.show(Text(f"    {_near(Path(folder))}", style="dim"), soft_wrap=True)
    screen.show(
        "\nclean NAME --checkpoints keeps the results and removes the adapters; clean NAME --sweep removes all of it"
    )
    document = {"sweeps": [asdict(use) for use in uses], "cache": {"folder": str(cache), "bytes": cached}}
    screen.emit({**document, "mlflow": store})


def _local_store() -> "dict[str, Any] | None":
    """Return the folder and the bytes of the local tracking store; None where a server has it, or nothing is there."""
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
        "bytes": sum(file.stat().st_size for file in files) + taken(location.artifacts),
    }


def _near(path: Path) -> Path:
    """Return the path as it is seen from the working directory, if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _confirm(screen: Screen, question: str, *, yes: bool) -> None:
    if yes:
        return
    if screen.as_json or not screen.out.is_terminal:
        raise UserError(f"{question}? Nobody can be asked here; --yes does it")
    typer.confirm(f"{question}?", abort=True)


def _size(num_bytes: int) -> str:
    from orchestrator.report import words

    return words.size(num_bytes)
