"""Which of the packages that Loratory stands on are installed, and whether they are the right ones."""

import importlib.util
import re
import tomllib
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import orchestrator

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
OPTIONAL = {"bitsandbytes": "bitsandbytes", "deepspeed": "deepspeed"}
"""The same for what only some sweep files need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """One package: its version, and what is wrong with it, None if nothing is."""

    name: str
    version: str | None
    problem: str | None = None


def packages() -> tuple[Installed, ...]:
    """Return the state of every package that is needed, or used if it is there; none of them is imported."""
    ranges = _ranges()
    needed = tuple(_look(name, module, ranges.get(name)) for name, module in NEEDED.items())
    found = (_look(name, module, None) for name, module in OPTIONAL.items())
    return (*needed, *(item if item.version else replace(item, problem=None) for item in found))


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
    """Return the version ranges that our own package declares, by distribution."""
    declared = _declared(Path(orchestrator.__file__).parents[1])
    found = (re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*([<>=!~][^;]*)?(;.*)?$", line) for line in declared)
    return {m[1].lower(): m[2].strip() for m in found if m and m[2] and not m[3]}


def _declared(folder: Path) -> list[str]:
    """Return our own requirements, as the checkout in ``folder`` says, or the installed package if it is none."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        # A checkout is used without being installed; metadata that lies about may be of an older state.
        if project["name"] == "loratory":
            return list(project["dependencies"])
    except (OSError, KeyError):  # an installed wheel stands in site-packages, where there is no file of ours
        pass
    try:
        return metadata.requires("loratory") or []
    except metadata.PackageNotFoundError:  # a bare copy of the packages
        return []


def _satisfies(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    # A local build tag (2.13.0+cpu) is the same version.
    return Version(version).public in SpecifierSet(wanted)
