"""Registry operations for another process: killed at one of its writes, or two of them at once."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from orchestrator.core.errors import TrackingError
from orchestrator.tracking.location import Location, connect
from orchestrator.tracking.registered.registry import ModelReference, Registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

WRITES = ("create_", "set_", "delete_", "update_")


class KilledClient:
    """A client of a real store. It kills its process before write ``number``, counted from 0."""

    def __init__(self, location: Location, number: int) -> None:
        self._client = connect(location)
        self._left = number

    @classmethod
    def of(cls, location: Location, number: int) -> "MlflowClient":
        """Return the client with the type of a real one: it passes on every method."""
        return cast("MlflowClient", cls(location, number))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not name.startswith(WRITES):
            return method

        def write(*arguments: Any, **named: Any) -> Any:
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
            return method(*arguments, **named)

        return write


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process and return its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def promote(registry: Registry, name: str, model_id: str) -> None:
    """Register a model and make it the champion."""
    seen = registry.holder(name, "champion")
    registry.set_alias(registry.register(name, model_id, {"trial": "2"}), "champion", seen=seen)


def state(location: Location, name: str) -> dict[str, Any]:
    """Return the aliases, the number of versions and the history of a model."""
    registry = Registry(location)
    versions = registry.versions(name)
    champion = registry.get(ModelReference(name=name, alias="champion"))
    weights = registry.download(champion) / "adapter_model.safetensors"
    return {
        "champion": champion.version,
        "whole": weights.stat().st_size > 0,
        "aliases": {alias: item.version for item in versions for alias in item.aliases},
        "versions": len(versions),
        "history": [(move.previous, move.version, move.done) for move in registry.history(name, "champion")],
    }


def kills(location: Location, first: str, second: str) -> list[dict[str, Any]]:
    """Kill a promotion before each of its writes; return the state after each kill and after a second try."""
    found: list[dict[str, Any]] = []
    for number in range(100):
        name = f"killed-{number}"
        promote(Registry(location), name, first)

        def work(name: str = name, number: int = number) -> None:
            promote(Registry(location, KilledClient.of(location, number)), name, second)

        child = in_child(work)
        status = os.waitpid(child, 0)[1]
        after = state(location, name)
        promote(Registry(location), name, second)
        found.append({"status": status, "after": after, "again": state(location, name)})
        if status == 0:
            break
    return found


def race(location: Location, models: list[str], name: str, start: Path) -> list[str]:
    """Promote models at once, each in a process; return their messages, empty for a success."""
    children = {}
    for model_id in models:

        def work(model_id: str = model_id) -> None:
            registry = Registry(location)
            seen = registry.holder(name, "champion")
            version = registry.register(name, model_id, {})
            (start / model_id).touch()
            while len(list(start.iterdir())) < len(models):
                pass
            message = ""
            try:
                registry.set_alias(version, "champion", seen=seen)
            except TrackingError as error:
                message = str(error)
            (start.parent / f"{model_id}.message").write_text(message)

        children[model_id] = in_child(work)
    for child in children.values():
        os.waitpid(child, 0)
    return [(start.parent / f"{model_id}.message").read_text() for model_id in children]


def main() -> None:
    """Print the results of both for a local store, as JSON. Arguments: URI FOLDER MODEL MODEL."""
    uri, folder, *models = sys.argv[1:]
    artifacts = Path(uri.removeprefix("sqlite:///")).parent / "artifacts"
    location = Location(tracking_uri=uri, registry_uri=uri, artifacts=artifacts)
    start = Path(folder) / "start"
    start.mkdir()
    killed, messages = kills(location, *models), race(location, models, "raced", start)
    found = {"kills": killed, "messages": messages, "state": state(location, "raced")}
    print(json.dumps(found))  # noqa: T201  (the parent reads it)


if __name__ == "__main__":
    main()
