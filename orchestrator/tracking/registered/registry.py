"""The model registry: versions of registered models, and their aliases."""

import enum
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.core.system.secrets import redact
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import Location, connect, exclusive
from orchestrator.tracking.logged_models.models import download_model, incompleteness, mark_registered
from orchestrator.tracking.refusals import reason
from orchestrator.tracking.registered.alias_history import (
    PROMOTE,
    ROLLBACK,
    AliasMove,
    alias_history,
    alias_names,
    move_tag,
    stored_moves,
)
from orchestrator.tracking.runs.provenance import user

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION = "champion"
PREVIOUS = "previous"
"""The alias of the version that was the champion before."""
HIDDEN = "mlflow.loratory."
"""Beginning of a tag for programs. MLflow shows all tags of a version, and none of a model that begin with ``mlflow.``.
So such a tag of a version is stored with the model, as ``<tag>.<version>``.
"""
PREVIOUS_TAG = "loratory.previous"
"""Tag of a version with the previous holder of an alias, written by early versions: ``loratory.previous.<alias>``."""


class Seen(enum.Enum):
    """A caller without knowledge of an alias's holder."""

    ANY = "any"


@contextmanager
def registry_errors(location: Location) -> Iterator[None]:
    """Raise MLflow's errors as ``TrackingError``: one line with the registry's address."""
    load_mlflow()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise TrackingError(f"the registry at {location.registry_uri}: {reason(error)}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One version of a registered model.

    Attributes:
        model_id: the logged model; empty for a version of another program.
        run_id: the run of the trial.
        created_at: time of the registration, in seconds since the epoch.
    """

    name: str
    version: int
    model_id: str
    run_id: str | None
    aliases: tuple[str, ...] = ()
    created_at: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    @property
    def reference(self) -> str:
        """``name/version``."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelReference:
    """A reference to a version: ``NAME``, ``NAME@alias`` or ``NAME/version``."""

    name: str
    alias: str | None = None
    version: int | None = None

    @classmethod
    def parse(cls, written: str) -> "ModelReference":
        """Return the reference written as ``written``, with or without ``models:/`` before it.

        Raises:
            UserError: the name is empty, or the version is not a positive integer.
        """
        written = written.removeprefix("models:/")
        name, at, alias = written.partition("@")
        if at and name and alias and "/" not in written:
            return cls(name=name, alias=alias)
        name, slash, version = written.partition("/")
        if name and not slash and not at:
            return cls(name=name)
        if name and version.isdecimal() and int(version) > 0:
            return cls(name=name, version=int(version))
        raise UserError(f"a model is NAME, NAME@alias or NAME/version, got {written!r}")


class Registry:
    """The registry of one location."""

    def __init__(self, location: Location, client: "MlflowClient | None" = None) -> None:
        self._location = location
        self._client = connect(location) if client is None else client

    def register(self, name: str, model_id: str, tags: Mapping[str, str], description: str = "") -> Version:
        """Return the version of ``name`` with a logged model; create the name and the version if they are missing.

        Args:
            name: the registered model.
            model_id: the logged model.
            tags: set on the version, with secrets masked.
            description: for a new version only; an old one may have been edited.

        Raises:
            UserError: the registry refuses the name.
            TrackingError: the logged model is incomplete.
        """
        self._require_whole(model_id, f"model {model_id}")
        with exclusive(self._location.registry_uri, "registry"):
            return self._register(name, model_id, {key: redact(tags[key]) for key in tags}, redact(description))

    def _register(self, name: str, model_id: str, tags: Mapping[str, str], description: str) -> Version:
        registered = next((item for item in self._versions_of_new(name) if item.model_id == model_id), None)
        shown = {key: value for key, value in tags.items() if not key.startswith(HIDDEN)}
        if registered is None:
            model = self._client.get_logged_model(model_id)
            # A server knows its own models. MLflow's SQL registry would look up models:/ and a missing run in the
            # process-wide tracking store, which may be another one.
            remote = self._location.registry_uri.startswith("http")
            source = f"models:/{model_id}" if remote else str(model.artifact_location)
            made = self._client.create_model_version(
                name, source, model.source_run_id, tags=shown, description=description or None, model_id=model_id
            )
            number = int(made.version)
        else:
            number = registered.version
            for key, value in shown.items():
                self._client.set_model_version_tag(name, str(number), key, value)
        mark_registered(self._client, model_id, name, number)
        for key in tags.keys() - shown.keys():
            self._client.set_registered_model_tag(name, f"{key}.{number}", tags[key])
        return self.get(ModelReference(name=name, version=number))

    def _versions_of_new(self, name: str) -> tuple[Version, ...]:
        """Return the versions of a registered model; the model is created if it is missing."""
        from mlflow.exceptions import MlflowException

        try:
            return self.versions(name)
        except UserError:
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code == "RESOURCE_ALREADY_EXISTS":  # another machine was faster
                    return self.versions(name)
                raise UserError(f"a registered model cannot be called {name!r}: {error.message}") from error
            return ()

    def set_alias(
        self, version: Version, alias: str, *, seen: Version | Seen | None = Seen.ANY, reason: str = ""
    ) -> Version | None:
        """Point ``alias`` to ``version`` and return its previous holder; None if there was no other one.

        The move of the alias is the last write: a process killed before leaves the alias at its earlier version.
        The alias ``previous`` is set to the earlier version of ``champion``.

        Args:
            version: the new holder.
            alias: the alias.
            seen: the holder known to the caller; another holder refuses the move. By default any holder is accepted.
            reason: why, in words, for the history.

        Raises:
            TrackingError: the alias has moved from ``seen``, the version's model is incomplete, or the registry
                refuses the alias; the version stays registered.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._move(version, alias, PROMOTE, reason, seen)
        except MlflowException as error:
            raise TrackingError(
                f"{version.reference} is registered, but the registry refuses its alias {alias}: {error.message}"
            ) from error

    def move_back(self, name: str, alias: str, to: int | None = None, reason: str = "") -> tuple[Version, Version]:
        """Point ``alias`` to its previous holder, and return ``(old holder, new holder)``.

        The old holder becomes the previous one, so a second call undoes the first.

        Args:
            name: the registered model.
            alias: the alias.
            to: the number of the new holder; None: the previous holder.
            reason: why, in words, for the history.

        Raises:
            UserError: no version has the alias, there is no previous holder, or ``to`` has the alias already.
            TrackingError: the new holder's model is incomplete.
        """
        current = self.get(ModelReference(name=name, alias=alias))
        target = to or self._previous_of(current, alias)
        if target is None:
            raise UserError(f"{current.reference} is the first version with the alias {alias}; there is no earlier one")
        earlier = self.get(ModelReference(name=name, version=target))
        if earlier.version == current.version:
            raise UserError(f"{current.reference} has the alias {alias} already")
        self._move(earlier, alias, ROLLBACK, reason, current)
        return current, earlier

    def history(self, name: str, alias: str) -> tuple[AliasMove, ...]:
        """Return every move of an alias, the oldest first.

        Raises:
            UserError: the name is not registered.
        """
        holder = next((item.version for item in self.versions(name) if alias in item.aliases), None)
        return alias_history(self._client.get_registered_model(name).tags, alias, holder)

    def aliases_with_history(self, name: str) -> tuple[str, ...]:
        """Return the aliases of a registered model with a recorded move."""
        self.versions(name)
        return alias_names(self._client.get_registered_model(name).tags)

    def _previous_of(self, current: Version, alias: str) -> int | None:
        moved = [move for move in self.history(current.name, alias) if move.done]
        if moved:
            return moved[-1].previous
        earlier = current.tags.get(f"{PREVIOUS_TAG}.{alias}")  # of a version promoted before there was a history
        return None if earlier is None else int(earlier)

    def _move(
        self, version: Version, alias: str, action: str, reason: str, seen: Version | Seen | None
    ) -> Version | None:
        self._require_whole(version.model_id, version.reference)
        name, client = version.name, self._client
        with exclusive(self._location.registry_uri, "registry"):
            before = self.holder(name, alias)
            number = None if before is None else before.version
            if number == version.version:
                return None
            if seen is not Seen.ANY and number != (None if seen is None else seen.version):
                raise self._moved_meanwhile(version, alias, seen)
            move = AliasMove(
                version=version.version,
                previous=number,
                action=action,
                by=user(),
                at=time.time(),
                reason=redact(reason),
                origin=_origin(version),
            )
            moves = stored_moves(client.get_registered_model(name).tags, alias)
            following = moves[-1][0] + 1 if moves else 1
            client.set_registered_model_tag(name, *move_tag(alias, following, move))
            if before is not None and alias == CHAMPION:
                client.set_registered_model_alias(name, PREVIOUS, str(before.version))
            self._require_holder(version, alias, before, number)  # another machine does not wait for the lock
            client.set_registered_model_alias(name, alias, str(version.version))
            client.set_registered_model_tag(name, *move_tag(alias, following, replace(move, done=True)))
            self._require_holder(version, alias, before, version.version)
        return before

    def _require_holder(self, version: Version, alias: str, before: Version | None, number: int | None) -> None:
        """Raise ``TrackingError`` unless version ``number`` has the alias."""
        now = self.holder(version.name, alias)
        if (None if now is None else now.version) != number:
            raise self._moved_meanwhile(version, alias, before)

    def _moved_meanwhile(self, version: Version, alias: str, seen: Version | None) -> TrackingError:
        """Return the error for an alias moved by another process."""
        now = self.holder(version.name, alias)
        moves = self.history(version.name, alias)
        by = f" by {moves[-1].by}" if moves and moves[-1].by else ""
        return TrackingError(
            f"{version.name}@{alias} moved from {'no version' if seen is None else seen.reference} to "
            f"{'no version' if now is None else now.reference}{by} while this command ran, so it did not get "
            f"{version.reference}, which stays registered. Run the command again to compare with the new holder"
        )

    def _require_whole(self, model_id: str, name: str) -> None:
        """Raise ``TrackingError`` if a logged model lacks files; versions of other programs are not checked."""
        if not model_id:
            return
        problem = incompleteness(self._client, model_id, self._location.tracking_uri)
        if problem is not None:
            raise TrackingError(f"{name} cannot be loaded, so no alias is set to it: {problem}")

    def get(self, reference: ModelReference) -> Version:
        """Return a version by number or alias; for a name alone the champion, else the newest version.

        Raises:
            UserError: there is no such version; the message lists the versions.
        """
        known = self.versions(reference.name)
        if reference.version is not None:
            matching = [item for item in known if item.version == reference.version]
        else:
            alias = reference.alias or CHAMPION
            matching = [item for item in known if alias in item.aliases]
            if not matching and reference.alias is None:
                matching = list(known[-1:])
        if not matching:
            existing = ", ".join(" ".join((item.reference, *(f"@{alias}" for alias in item.aliases))) for item in known)
            wanted = f"@{reference.alias}" if reference.alias else f"/{reference.version}"
            raise UserError(f"{reference.name} has no version {wanted}; there are: {existing or 'none'}")
        return matching[0]

    def versions(self, name: str) -> tuple[Version, ...]:
        """Return the versions of a registered model, the oldest first.

        Raises:
            UserError: the name is not registered; the message lists the registered names.
        """
        from mlflow.exceptions import MlflowException

        try:
            model = self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "INVALID_PARAMETER_VALUE":
                raise UserError(f"a registered model cannot be called {name!r}: {error.message}") from error
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise TrackingError(f"the registry at {self._location.registry_uri}: {error.message}") from error
            raise UserError(
                f"no model {name} is registered; registered: {', '.join(self.names()) or 'none'}"
            ) from error
        escaped = name.replace("'", "''")
        items = self._client.search_model_versions(f"name = '{escaped}'")
        return tuple(sorted((_version(item, model) for item in items), key=lambda item: item.version))

    def holder(self, name: str, alias: str) -> Version | None:
        """Return the version of an alias; None if the name is not registered or no version has the alias."""
        try:
            return next((item for item in self.versions(name) if alias in item.aliases), None)
        except UserError:
            return None

    def names(self) -> tuple[str, ...]:
        """Return the names of the registered models."""
        return tuple(sorted(model.name for model in self._client.search_registered_models()))

    def download(self, version: Version, target: Path | None = None) -> Path:
        """Return the version's adapter folder: copied to ``target``, or in place if it is on this disk.

        Raises:
            UserError: the version does not come from a logged adapter.
        """
        if not version.model_id:
            raise UserError(f"{version.reference} does not come from an adapter logged by Loratory")
        return download_model(self._client, version.model_id, self._location.tracking_uri, target)


def _origin(version: Version) -> str:
    """Return the version's sweep and trial, in words; empty if its tags do not name them."""
    sweep, trial = version.tags.get("sweep"), version.tags.get("trial")
    return f"trial {trial} of {sweep}" if sweep and trial else ""


def _version(item: "ModelVersion", model: "RegisteredModel") -> Version:
    hidden = (key.rpartition(".") for key in model.tags if key.startswith(HIDDEN))
    stored = {key: model.tags[f"{key}.{number}"] for key, _, number in hidden if number == str(item.version)}
    return Version(
        name=item.name,
        version=int(item.version),
        # SQL registries keep only the source; it ends in the model's id or folder.
        model_id=item.model_id or next(iter(re.findall(r"\bm-[0-9a-f]{32}\b", item.source or "")), ""),
        run_id=item.run_id or None,
        aliases=tuple(sorted(alias for alias, number in model.aliases.items() if int(number) == int(item.version))),
        created_at=None if item.creation_timestamp is None else item.creation_timestamp / 1000,
        tags={**item.tags, **stored},
        description=item.description or "",
    )
