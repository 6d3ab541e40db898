"""Resolves the source of a model or data set: packaged name, hub id, path or query. Files are located, not read."""

import errno
import glob
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from orchestrator.core.data import Origin, Source
from orchestrator.core.system.secrets import redact
from orchestrator.spec.document.problems import KeyPath, Problems, yaml_text
from orchestrator.spec.document.suggest import did_you_mean
from orchestrator.spec.sections.fields import HubSource, TorchHubSource

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
DATA_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow", ".feather", ".conll")
_TORCHHUB = "torchhub:"
_TORCHHUB_REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+(:[\w./-]+)?")
_KAGGLE = "kaggle:"
_KAGGLE_HANDLE = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+/[\w.-]+(/[1-9][0-9]*)?")
_SQLITE = "sqlite:///"
_QUERY = "?query="
_COMPRESSED = {".gz", ".bz2", ".xz", ".zst", ".zip"}
_REMOTE = re.compile(r"(https?|s3|gs|gcs|az|abfss?|hdfs|ftp)://")
_DATABASE = re.compile(r"(postgresql|postgres|mysql|mariadb|duckdb|mssql|oracle)(\+\w+)?://")
_ANY_QUERY = re.compile(r"[?&]query=")


def _is_model(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".gguf"


def _has_rows(path: Path) -> bool:
    return path.suffix.lower() in DATA_SUFFIXES or path.is_dir()


class SourceReader:
    """Converts source entries into ``core.data.Source``.

    Args:
        folder: the sweep file's folder; paths are resolved there, then in the current folder.
        packaged: names of the packaged assets.
        problems: receives the errors.
    """

    def __init__(self, folder: Path, packaged: Collection[str], problems: Problems) -> None:
        self._folder = folder
        self._packaged = packaged
        self._problems = problems

    def model(self, entry: str | HubSource | TorchHubSource, path: KeyPath) -> Source | None:
        """Return a model's source, or None after a problem."""
        if isinstance(entry, str) and entry.startswith(_TORCHHUB):
            entry = TorchHubSource(torchhub=entry.removeprefix(_TORCHHUB))
        if isinstance(entry, TorchHubSource):
            return self._torchhub(entry, path)
        if isinstance(entry, str) and entry.startswith(_KAGGLE):
            return self._kaggle(entry.removeprefix(_KAGGLE), path)
        source = self._source(entry, path)
        if source and source.origin is Origin.LOCAL and not _is_model(Path(source.name)):
            return self._refuse(path, f"a model folder or a .gguf file is needed, got the file {yaml_text(entry)}")
        if isinstance(entry, HubSource):
            for name in ("config", "split"):
                if getattr(entry, name) is not None:
                    self._problems.add((*path, name), "applies only to data sets", at_key=True)
        return source

    def _torchhub(self, entry: TorchHubSource, path: KeyPath) -> Source | None:
        """Return the source of an entry in a trusted repository; the name of a local one is an absolute path."""
        repository, _, name = entry.torchhub.rpartition(":")
        if not repository or not name.isidentifier():
            form = f"{_TORCHHUB}OWNER/NAME:ENTRY or {_TORCHHUB}FOLDER:ENTRY is needed"
            return self._refuse(path, f"{form}, got {yaml_text(entry.torchhub)}")
        folder = self.find(repository)
        if folder is None and not _TORCHHUB_REPOSITORY.fullmatch(repository):
            return self._refuse(path, f"{self.not_found_reason(repository)}, got {yaml_text(repository)}")
        if not entry.trust:
            remedy = f"model: {{torchhub: {yaml_text(entry.torchhub)}, trust: true}}"
            rule = f"runs the code in hubconf.py of {repository} on this machine. Read it; if you trust it, write"
            return self._refuse(path, f"{rule} {remedy}")
        return Source(origin=Origin.TORCHHUB, name=f"{folder or repository}:{name}")

    def _kaggle(self, handle: str, path: KeyPath) -> Source | None:
        if not _KAGGLE_HANDLE.fullmatch(handle):
            form = f"{_KAGGLE}OWNER/MODEL/FRAMEWORK/VARIATION, possibly with /VERSION, is needed"
            return self._refuse(path, f"{form}, got {yaml_text(handle)}")
        return Source(origin=Origin.KAGGLE, name=handle)

    def data(self, entry: str | HubSource | Sequence[str], path: KeyPath) -> Source | None:
        """Return a data set's source, or None after a problem."""
        if isinstance(entry, str) and entry.startswith((_TORCHHUB, _KAGGLE)):
            return self._refuse(path, f"applies only to models, got {yaml_text(entry)}")
        if isinstance(entry, str) and entry.startswith(_SQLITE):
            return self._sqlite(entry, path)
        if isinstance(entry, str) and _DATABASE.match(entry):
            return self._sql(entry, path)
        if isinstance(entry, HubSource) or (
            isinstance(entry, str) and (entry.startswith("hub:") or entry in self._packaged)
        ):
            return self._source(entry, path)
        entries = {path: entry} if isinstance(entry, str) else {(*path, at): one for at, one in enumerate(entry)}
        names = [self._rows(one, where) for where, one in entries.items()]
        return None if None in names else Source(origin=Origin.LOCAL, name="\n".join(filter(None, names)))

    def _rows(self, entry: str, path: KeyPath) -> str | None:
        """Return the absolute path of a file or folder of rows, or the absolute pattern; None after a problem."""
        pattern = glob.has_magic(entry) and self.find(entry) is None
        found = self._pattern(entry) if pattern else None
        source = None if pattern else self._source(entry, path)
        if "\n" in entry:
            self._refuse(path, f"a path has no line break, got {yaml_text(entry)}")
        elif pattern and found is None:
            self._refuse(path, f"no file matches the pattern, got {yaml_text(entry)}")
        elif source is not None and source.origin is not Origin.LOCAL:
            self._refuse(path, f"a list has paths and patterns only, got {yaml_text(entry)}")
        elif source is not None and not _has_rows(Path(source.name)):
            packed = Path(source.name).suffix.lower() in _COMPRESSED
            remedy = ". Decompress it first" if packed else ""
            kinds = f"one of {', '.join(DATA_SUFFIXES)} or a folder is needed"
            self._refuse(path, f"{kinds}, got {yaml_text(entry)}{remedy}")
        else:
            return source.name if source is not None else found
        return None

    def _pattern(self, entry: str) -> str | None:
        """Return the absolute pattern of existing files, in the sweep file's folder or the current folder."""
        for folder in (self._folder, Path()):
            with suppress(OSError, RuntimeError, ValueError):
                # The folder's own name is no pattern, whatever characters it has.
                pattern = Path(glob.escape(str(folder.absolute())), Path(entry).expanduser())
                if any(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))):
                    return str(pattern)
        return None

    def _sqlite(self, entry: str, path: KeyPath) -> Source | None:
        """Return the source of ``sqlite:///PATH?query=SELECT …`` with an absolute path."""
        written, _, query = entry.removeprefix(_SQLITE).partition(_QUERY)
        if not written or not query.strip():
            return self._refuse(path, f"{_SQLITE}FILE{_QUERY}SELECT … is needed, got {yaml_text(entry)}")
        if redact(entry) != entry:
            return self._refuse_secret(entry, "Remove it; a view of the database can hold the query", path)
        found = self.find(written)
        if found is None:
            return self._refuse(path, f"{self.not_found_reason(written)}, got {yaml_text(entry)}")
        return Source(origin=Origin.SQLITE, name=f"{_SQLITE}{found}{_QUERY}{query.strip()}")

    def _sql(self, entry: str, path: KeyPath) -> Source | None:
        """Return the source of a query on a database other than SQLite; its address has no password."""
        database, *after = _ANY_QUERY.split(entry, maxsplit=1)
        scheme, _, place = database.partition("://")
        if not place or not after or not after[0].strip():
            form = f"{scheme}:///FILE" if scheme == "duckdb" else f"{scheme}://USER@HOST/DATABASE"
            return self._refuse(path, f"{form}{_QUERY}SELECT … is needed, got {yaml_text(redact(entry))}")
        if redact(database) != database:
            remedy = "Remove it and set LORATORY_SQL_PASSWORD, or use the driver's own file (~/.pgpass, ~/.my.cnf)"
            return self._refuse_secret(database, remedy, path)
        if redact(entry) != entry:
            return self._refuse_secret(entry, "Remove it; a view of the database can hold the query", path)
        if scheme.startswith("duckdb"):
            found = self.find(place.removeprefix("/"))
            if found is None:
                return self._refuse(path, f"{self.not_found_reason(place.removeprefix('/'))}, got {yaml_text(entry)}")
            database = f"{scheme}:///{found}"
        database = re.sub(r"^postgres(?=[:+])", "postgresql", database)
        return Source(
            origin=Origin.SQL, name=f"{database}{_QUERY if '?' not in database else '&query='}{after[0].strip()}"
        )

    def find(self, text: str) -> Path | None:
        """Return the absolute path of an existing file or folder, links followed, else None."""
        place = self.find_unresolved(text)
        return None if place is None else place.resolve()

    def find_unresolved(self, text: str) -> Path | None:
        """Return the absolute path of an existing file or folder, else None.

        A relative path is resolved in the sweep file's folder, then in the current folder.
        """
        for folder in (self._folder, Path()):
            # Raised for a name that is too long, the home folder of an unknown user, or a folder without permission.
            with suppress(OSError, RuntimeError, ValueError):
                path = folder / Path(text).expanduser()
                if path.exists():
                    return path.absolute()
        return None

    def not_found_reason(self, text: str) -> str:
        """Return why ``find`` returned None; ``no such file or folder`` in the usual case."""
        try:
            (self._folder / Path(text).expanduser()).lstat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                return f"cannot be read: {error.strerror}"
        except (RuntimeError, ValueError) as error:
            return f"is not a valid path: {error}"
        return "no such file or folder"

    def _source(self, entry: str | HubSource, path: KeyPath) -> Source | None:
        if isinstance(entry, HubSource) or entry.startswith("hub:"):
            return self._hub(entry, path)
        if entry in self._packaged:
            return Source(origin=Origin.PACKAGED, name=entry)
        local = self.find(entry) if entry else None
        if local:
            return Source(origin=Origin.LOCAL, name=str(local))
        if not entry or (_HUB_ID.fullmatch(entry) and "/" not in entry and Path(entry).suffix not in DATA_SUFFIXES):
            hint = did_you_mean(entry, self._packaged) or f"; known: {', '.join(sorted(self._packaged))}"
            rule = "a packaged name, hub:org/name or a path is needed"
            return self._refuse(path, f"{rule}, got {yaml_text(entry)}{hint}")
        is_id = _HUB_ID.fullmatch(entry) and Path(entry).suffix not in DATA_SUFFIXES
        hint = f"; did you mean hub:{entry}?" if is_id else ""
        if _REMOTE.match(entry):
            hint = ". Download it first and name the file; only hub:, kaggle: and torchhub: are downloaded"
        return self._refuse(path, f"{self.not_found_reason(entry)}, got {yaml_text(entry)}{hint}")

    def _hub(self, entry: str | HubSource, path: KeyPath) -> Source | None:
        hub = HubSource(hub=entry.removeprefix("hub:")) if isinstance(entry, str) else entry
        if not _HUB_ID.fullmatch(hub.hub):
            where = path if isinstance(entry, str) else (*path, "hub")
            return self._refuse(where, f"a hub id such as org/name is needed, got {yaml_text(hub.hub)}")
        return Source(origin=Origin.HUB, name=hub.hub, config=hub.config, split=hub.split, revision=hub.revision)

    def _refuse_secret(self, text: str, remedy: str, path: KeyPath) -> Source | None:
        rule = "an address without a password is needed, because sweep files are stored"
        return self._refuse(path, f"{rule}, got {yaml_text(redact(text))}. {remedy}")

    def _refuse(self, path: KeyPath, message: str) -> Source | None:
        self._problems.add(path, message)
        return None
