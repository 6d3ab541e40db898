"""The model registry: versions of registered models, and their aliases."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.core.errors import TrackingError, UserError
from orchestrator.tracking.environment import load_mlflow
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.models import download_model
from orchestrator.tracking.refusals import reason

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
PREVIOUS_TAG = "loratory.previous"
"""Tag of a version with the previous holder of an alias: ``loratory.previous.<alias>``."""


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
    """One version of a registered model."""

    name: str
    version: int
    model_id: str
    run_id: str | None
    aliases: tuple[str, ...] = ()
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

    def __init__(self, location: Location) -> None:
        self._location = location
        self._client = connect(location)

    def register(self, name: str, model_id: str, tags: Mapping[str, str], description: str = "") -> Version:
        """Return the version of ``name`` with a logged model; create the name and the version if they are missing.

        Args:
            name: the registered model.
            model_id: the logged model.
            tags: set on the version.
            description: for a new version only; an old one may have been edited.

        Raises:
            UserError: the registry refuses the name.
        """
        from mlflow.exceptions import MlflowException

        try:
            known = self.versions(name)
        except UserError:
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                raise UserError(f"a registered model cannot be called {name!r}: {error.message}") from error
            known = ()
        registered = next((version for version in known if version.model_id == model_id), None)
        if registered is None:
            model = self._client.get_logged_model(model_id)
            # A server knows its own models. MLflow's SQL registry would look up models:/ and a missing run in the
            # process-wide tracking store, which may be another one.
            remote = self._location.registry_uri.startswith("http")
            source = f"models:/{model_id}" if remote else str(model.artifact_location)
            made = self._client.create_model_version(
                name, source, model.source_run_id, tags=dict(tags), description=description or None, model_id=model_id
            )
            return _version(made)
        for key, value in tags.items():
            self._client.set_model_version_tag(name, str(registered.version), key, value)
        return self.get(ModelReference(name=name, version=registered.version))

    def set_alias(self, version: Version, alias: str) -> Version | None:
        """Point ``alias`` to ``version`` and return its previous holder; None if there was no other one.

        Raises:
            TrackingError: the registry refuses the alias; the version stays registered.
        """
        from mlflow.exceptions import MlflowException

        try:
            return self._set_alias(version, alias)
        except MlflowException as error:
            raise TrackingError(
                f"{version.reference} is registered, but the registry refuses its alias {alias}: {error.message}"
            ) from error

    def _set_alias(self, version: Version, alias: str) -> Version | None:
        before = self.holder(version.name, alias)
        if before is not None and before.version == version.version:
            return None
        if before is not None:
            tag = f"{PREVIOUS_TAG}.{alias}"
            self._client.set_model_version_tag(version.name, str(version.version), tag, str(before.version))
        self._client.set_registered_model_alias(version.name, alias, str(version.version))
        return before

    def move_back(self, name: str, alias: str) -> tuple[Version, Version]:
        """Point ``alias`` to its previous holder, and return ``(old holder, new holder)``.

        Raises:
            UserError: no version has the alias, or there is no previous holder.
        """
        current = self.get(ModelReference(name=name, alias=alias))
        previous = current.tags.get(f"{PREVIOUS_TAG}.{alias}")
        if previous is None:
            raise UserError(f"{current.reference} is the first version with the alias {alias}; there is no earlier one")
        earlier = self.get(ModelReference(name=name, version=int(previous)))
        self._client.set_registered_model_alias(name, alias, previous)
        return current, earlier

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
            aliases = self._client.get_registered_model(name).aliases
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
        held = {
            item.version: tuple(sorted(a for a, v in aliases.items() if int(v) == int(item.version))) for item in items
        }
        return tuple(sorted((_version(item, held[item.version]) for item in items), key=lambda item: item.version))

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


def _version(item: "ModelVersion", aliases: tuple[str, ...] = ()) -> Version:
    return Version(
        name=item.name,
        version=int(item.version),
        # SQL registries keep only the source; it ends in the model's id or folder.
        model_id=item.model_id or next(iter(re.findall(r"\bm-[0-9a-f]{32}\b", item.source or "")), ""),
        run_id=item.run_id or None,
        aliases=aliases,
        tags=dict(item.tags),
        description=item.description or "",
    )
