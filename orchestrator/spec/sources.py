"""Where a model or data set comes from: packaged name, hub id or path. Files are looked for, never read."""

import errno
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from orchestrator.core.data import Origin, Source
from orchestrator.spec.fields import HubSource
from orchestrator.spec.problems import KeyPath, Problems, shown
from orchestrator.spec.suggest import did_you_mean

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
DATA_SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


class SourceReader:
    """Turns sources as the file writes them into ``core.data.Source``.

    Args:
        folder: the sweep file's folder; paths are looked for there, then in the current one.
        packaged: names of the packaged assets.
        problems: takes what is wrong.
    """

    def __init__(self, folder: Path, packaged: Collection[str], problems: Problems) -> None:
        self._folder = folder
        self._packaged = packaged
        self._problems = problems

    def model(self, entry: str | HubSource, path: KeyPath) -> Source | None:
        """Return a model's source, or None after a problem."""
        source = self._source(entry, path)
        if source and source.origin is Origin.LOCAL and not Path(source.name).is_dir():
            return self._refuse(path, f"a model is a folder, got the file {shown(entry)}")
        if isinstance(entry, HubSource):
            for name in ("config", "split"):
                if getattr(entry, name) is not None:
                    self._problems.add((*path, name), "belongs to data sets, a model has none", at_key=True)
        return source

    def data(self, entry: str | HubSource, path: KeyPath) -> Source | None:
        """Return a data set's source, or None after a problem."""
        source = self._source(entry, path)
        if source and source.origin is Origin.LOCAL and Path(source.name).suffix not in DATA_SUFFIXES:
            return self._refuse(path, f"one of {', '.join(DATA_SUFFIXES)} is needed, got {shown(entry)}")
        return source

    def find(self, text: str) -> Path | None:
        """Return the absolute path of a file or folder, relative to the sweep file or to the current folder."""
        for folder in (self._folder, Path()):
            # A name that is too long, a home of nobody, a folder that is closed to us: there is no such file for us.
            with suppress(OSError, RuntimeError, ValueError):
                found = folder / Path(text).expanduser()
                if found.exists():
                    return found.resolve()
        return None

    def obstacle(self, text: str) -> str:
        """Return why ``find`` found nothing, ``no such file or folder`` if there is no other reason."""
        try:
            (self._folder / Path(text).expanduser()).lstat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return f"cannot be read: {error.strerror}"
        except (RuntimeError, ValueError) as error:
            return f"is no path: {error}"
        return "no such file or folder"

    def _source(self, entry: str | HubSource, path: KeyPath) -> Source | None:
        if isinstance(entry, HubSource) or entry.startswith("hub:"):
            return self._hub(entry, path)
        if entry in self._packaged:
            return Source(origin=Origin.PACKAGED, name=entry)
        found = self.find(entry) if entry else None
        if found:
            return Source(origin=Origin.LOCAL, name=str(found))
        if not entry or (_HUB_ID.fullmatch(entry) and "/" not in entry and Path(entry).suffix not in DATA_SUFFIXES):
            hint = did_you_mean(entry, self._packaged) or f"; known: {', '.join(sorted(self._packaged))}"
            return self._refuse(path, f"a packaged name, hub:org/name or a path is needed, got {shown(entry)}{hint}")
        hint = f"; did you mean hub:{entry}?" if _HUB_ID.fullmatch(entry) else ""
        return self._refuse(path, f"{self.obstacle(entry)}, got {shown(entry)}{hint}")

    def _hub(self, entry: str | HubSource, path: KeyPath) -> Source | None:
        hub = HubSource(hub=entry.removeprefix("hub:")) if isinstance(entry, str) else entry
        if not _HUB_ID.fullmatch(hub.hub):
            where = path if isinstance(entry, str) else (*path, "hub")
            return self._refuse(where, f"a hub id such as org/name is needed, got {shown(hub.hub)}")
        return Source(origin=Origin.HUB, name=hub.hub, config=hub.config, split=hub.split, revision=hub.revision)

    def _refuse(self, path: KeyPath, message: str) -> Source | None:
        self._problems.add(path, message)
        return None
