"""Which of the packages that Loratory stands on are installed, and whether they are the right ones."""

import importlib.util
import re
from dataclasses import dataclass
from importlib import metadata

NEEDED = {
    "torch": "torch",
    "ray": "ray",
    "optuna": "optuna",
    "transformers": "transformers",
    "peft": "peft",
    "mlflow": "mlflow",
    "datasets": "datasets",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "scikit-learn": "sklearn",
    "sqlalchemy": "sqlalchemy",
    "pydantic": "pydantic",
}
"""Distribution to module."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """One package: its version, and what is wrong with it, None if nothing is."""

    name: str
    version: str | None
    problem: str | None = None


def packages() -> tuple[Installed, ...]:
    """Return the state of every package that is needed; none of them is imported."""
    ranges = _ranges()
    return tuple(_look(name, module, ranges.get(name)) for name, module in NEEDED.items())


def _look(name: str, module: str, wanted: str | None) -> Installed:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Installed(name=name, version=None, problem="not installed")
    found = importlib.util.find_spec(module)
    # A folder of that name on the path (ours is called mlflow) is found as an empty namespace without an origin.
    if found is None or found.origin is None:
        return Installed(name=name, version=version, problem="installed, but another folder of that name is in its way")
    if wanted and not _satisfies(version, wanted):
        return Installed(name=name, version=version, problem=f"{wanted} is needed")
    return Installed(name=name, version=version)


def _ranges() -> dict[str, str]:
    """Return the version ranges that our own package declares, by distribution; empty if it is not installed."""
    try:
        declared = metadata.requires("loratory") or []
    except metadata.PackageNotFoundError:
        return {}
    found = (re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*([<>=!~][^;]*)?(;.*)?$", line) for line in declared)
    return {m[1].lower(): m[2].strip() for m in found if m and m[2] and not m[3]}


def _satisfies(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    # A local build tag (2.13.0+cpu) is the same version.
    return Version(version).public in SpecifierSet(wanted)
