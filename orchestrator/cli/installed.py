"""Installed versions of Loratory's dependencies, compared with the versions it requires."""

import importlib.util
import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import orchestrator

CHECKOUT = Path(orchestrator.__file__).parents[1]
"""The folder of our packages: a checkout, or ``site-packages``."""
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
"""Module by distribution."""
OPTIONAL = {"bitsandbytes": "bitsandbytes", "deepspeed": "deepspeed"}
"""Module by distribution, for packages used by some sweep files only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Installed:
    """One package: its version, and its problem, if any."""

    name: str
    version: str | None
    problem: str | None = None


def check_packages() -> tuple[Installed, ...]:
    """Return the state of every required or optional package. None is imported."""
    ranges = required_versions()
    needed = (check_package(name, module, ranges.get(name)) for name, module in NEEDED.items())
    return (*needed, *(check_package(name, module, optional=True) for name, module in OPTIONAL.items()))


def check_package(name: str, module: str, wanted: str | None = None, *, optional: bool = False) -> Installed:
    """Return the state of one package; the absence of an optional package is no problem.

    Args:
        name: the distribution.
        module: its module.
        wanted: the required versions, as in ``>=2,<3``; None: any.
        optional: whether only some sweep files use it.
    """
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Installed(name=name, version=None, problem=None if optional else "not installed")
    module_spec = importlib.util.find_spec(module)
    # A folder of the same name on the path (such as our mlflow/) is found as a namespace package without origin.
    if module_spec is None or module_spec.origin is None:
        return Installed(name=name, version=version, problem="hidden by a folder of the same name on the Python path")
    if wanted and not _satisfies(version, wanted):
        return Installed(name=name, version=version, problem=f"version {wanted} is required")
    return Installed(name=name, version=version)


def required_versions(folder: Path = CHECKOUT) -> dict[str, str]:
    """Return the version ranges of our own requirements by distribution, as the checkout in ``folder`` states them.

    Without a checkout, the metadata of the installed package states them.
    """
    declared = _declared(folder)
    matches = (re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*([<>=!~][^;]*)?(;.*)?$", line) for line in declared)
    return {m[1].lower(): m[2].strip() for m in matches if m and m[2] and not m[3]}


def _declared(folder: Path) -> list[str]:
    """Return our requirements from the checkout in ``folder``, else from the installed package."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        # A checkout need not be installed; metadata beside it may be out of date.
        if project["name"] == "loratory":
            return list(project["dependencies"])
    except (OSError, KeyError):  # an installed wheel has no pyproject.toml
        pass
    try:
        return metadata.requires("loratory") or []
    except metadata.PackageNotFoundError:  # copied packages without metadata
        return []


def _satisfies(version: str, wanted: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    # A local build tag (2.13.0+cpu) is the same version.
    return Version(version).public in SpecifierSet(wanted)
