"""Open and remove a sweep as a whole: its rows in the ledger, its Optuna study and its files."""

import shutil
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.core.errors import SweepChangedError
from orchestrator.core.sweeps.sweep import SweepRecord, SweepStatus
from orchestrator.ledger import codec
from orchestrator.ledger.home import folder_of, generations_on_disk, sweep_dir
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.fingerprint import differences


def open_sweep(
    ledger: Ledger,
    name: str,
    fingerprint: Mapping[str, Any],
    spec_text: str,
    *,
    fresh: bool = False,
    say: Callable[[str], None] = lambda _line: None,
) -> SweepRecord:
    """Return the newest sweep of a name to resume, or a new one: the first, or the next generation if ``fresh``.

    A changed fingerprint replaces a sweep without trials: the change spoils nothing. An interrupted removal is
    completed first. A new sweep gets a generation without files of another ledger's sweep.

    Args:
        ledger: the ledger.
        name: the sweep's name in its file.
        fingerprint: plain JSON, which must stay the same between two runs of one sweep.
        spec_text: the sweep file as it is now; a resumed sweep keeps its own until its driver updates it.
        fresh: create a new generation beside the old ones.
        say: receives messages about files of other sweeps on disk.

    Raises:
        SweepChangedError: the fingerprint differs from the stored one; the message lists each difference.
        SweepLockedError: it differs, and another driver is preparing the sweep.
    """
    on_disk = generations_on_disk(name)  # before the ledger is read: a sweep has a row before it has a folder
    newest = ledger.sweeps.newest(name)
    while newest is not None and newest.facts.removing:
        say(f"{newest.reference} was being removed: its removal is completed now")
        remove_sweep(ledger, newest)
        on_disk = generations_on_disk(name)
        newest = ledger.sweeps.newest(name)
    if newest is None or fresh:
        generation = 1 if newest is None else newest.generation + 1
        while generation in on_disk:
            say(
                f"{folder_of(name, generation)} holds files of a sweep that this ledger does not know; they are "
                f"not touched, and this sweep is {name}#{generation + 1}"
            )
            generation += 1
        return ledger.sweeps.create(name, generation, fingerprint, spec_text)
    resumed = resumable(ledger, name, fingerprint)
    if resumed is None:
        delete_sweep(ledger, newest)
        return ledger.sweeps.create(name, newest.generation, fingerprint, spec_text)
    return resumed


def resumable(ledger: Ledger, name: str, fingerprint: Mapping[str, Any]) -> SweepRecord | None:
    """Return the sweep to be resumed by ``open_sweep``; None if it would create one.

    Raises:
        SweepChangedError: as ``open_sweep``.
    """
    newest = ledger.sweeps.newest(name)
    if newest is None or newest.facts.removing:
        return None
    changes = differences(newest.fingerprint, codec.as_stored(fingerprint))
    if changes and ledger.sweeps.has_trials(newest.id):
        raise SweepChangedError(
            f"{newest.reference} was started with another search; what differs:\n"
            + "".join(f"  {change}\n" for change in changes)
            + "Give the file a new name, or start a new sweep beside the old one with --fresh."
        )
    return None if changes else newest


def newest_with_trials(ledger: Ledger, name: str) -> SweepRecord | None:
    """Return the newest sweep of a name if it has trials: ``open_sweep`` must resume it unchanged.

    None also for a sweep whose removal has begun: ``open_sweep`` completes it.
    """
    newest = ledger.sweeps.newest(name)
    if newest is None or newest.facts.removing:
        return None
    return newest if ledger.sweeps.has_trials(newest.id) else None


def delete_sweep(ledger: Ledger, sweep: SweepRecord) -> None:
    """Remove a sweep's study, then its rows. Its files and its runs in the tracker stay.

    Raises:
        SweepLockedError: a driver is running it.
    """
    from orchestrator.search.study import delete_study

    ledger.drivers.require_none(sweep.id)
    delete_study(ledger.database, sweep.reference)
    ledger.sweeps.delete(sweep.id)


def remove_sweep(ledger: Ledger, sweep: SweepRecord) -> None:
    """Remove a sweep with its files. Every step can be repeated, so a kill between two steps does no harm.

    The order is: mark the sweep, remove its files, its study, its rows. So its files never look like another sweep's.

    Raises:
        SweepLockedError: a driver is running it.
    """
    ledger.drivers.require_none(sweep.id)
    ledger.sweeps.update(sweep.id, status=SweepStatus.INTERRUPTED, facts={"removing": True})
    folder = sweep_dir(sweep)
    if folder.exists():
        shutil.rmtree(folder)
    delete_sweep(ledger, sweep)
