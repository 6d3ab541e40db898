"""Digests of code: of Loratory, of a user's file with its own modules, and of the installed packages."""

import ast
import functools
import hashlib
import site
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distributions
from pathlib import Path

from orchestrator.core.system.sqlite_file import is_sqlite

_WHOLE_BYTES = 4_000_000
"""Larger files of data, and SQLite databases, count by size and time of change."""
_MAX_NAME = 200


@functools.cache
def own_code() -> str:
    """Return a digest of all Python files of Loratory: a copy of its repository may change under one version."""
    return _digest(Path(__file__).parents[1].rglob("*.py"))


@functools.cache
def installed_packages() -> str:
    """Return the names and versions of Python and of all installed packages, also of those on ``PYTHONPATH``."""
    folders = {*site.getsitepackages(), site.getusersitepackages(), *sys.path}
    names = {path.name for folder in folders for path in Path(folder).glob("*.dist-info")}
    return " ".join([sys.version, *sorted(names)])


@functools.cache
def code_of(files: frozenset[Path]) -> str:
    """Return a digest of Python files, of the modules that they import, and of the data files that they name.

    The other Python files of their folders count too: they may be imported by a computed name. Modules of the standard
    library and of installed packages are left out; see ``installed_packages``. A data file is named by a text in the
    code, relative to the file's folder.
    """
    known: set[Path] = set()
    waiting = [*files]
    while waiting:
        file = waiting.pop()
        if file not in known:
            known.add(file)
            if file.suffix == ".py":
                waiting += _used_by(file)
    return _digest({*known, *(other for file in files for other in file.parent.glob("*.py"))})


def _used_by(file: Path) -> Iterator[Path]:
    """Yield the files of the modules imported by a Python file, and the data files named in it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # it is in another version's syntax, and cannot be imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _modules(alias.name, [str(file.parent), *sys.path])
        elif isinstance(node, ast.ImportFrom):
            parents = [str(file.parents[node.level - 1])] if node.level else [str(file.parent), *sys.path]
            for alias in node.names:
                yield from _modules(".".join(filter(None, (node.module, alias.name))), parents)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) <= _MAX_NAME:
            yield from _named(file.parent, node.value)


def _modules(name: str, places: list[str]) -> Iterator[Path]:
    """Yield the files of a module and of the packages around it, as far as they exist and are the user's."""
    for part in name.split("."):
        spec = PathFinder.find_spec(part, places)
        if spec is None or not _is_own(spec):
            return
        if spec.origin is not None:
            yield Path(spec.origin)
        if spec.submodule_search_locations is None:
            return
        places = [*spec.submodule_search_locations]


def _is_own(spec: ModuleSpec) -> bool:
    if spec.name in sys.stdlib_module_names:
        return False
    places = [spec.origin] if spec.origin else [*(spec.submodule_search_locations or ())]
    installed = (*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[1]))
    if any(Path(place).is_relative_to(folder) for place in places for folder in installed):
        return False
    is_package = spec.origin is not None and spec.submodule_search_locations is not None
    folders = [Path(place).parents[1] if is_package else Path(place).parent for place in places]
    return not any(spec.name in _recorded(folder) for folder in folders)


@functools.cache
def _recorded(folder: Path) -> frozenset[str]:
    """Return the modules and packages in a folder that pip has installed there, for example with ``--target``.

    Their distributions have a file RECORD. A user's own project has none, also if it is installed as editable.
    """
    found = (each for each in distributions(path=[str(folder)]) if each.read_text("RECORD") is not None)
    return frozenset(file.parts[0].partition(".")[0] for each in found for file in each.files or ())


def _named(folder: Path, text: str) -> Iterator[Path]:
    try:
        path = folder / text
        if path.is_file():
            yield path
    except (OSError, ValueError):  # the text is no path
        return


def _digest(files: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(files):
        stat = path.stat()
        whole = stat.st_size <= _WHOLE_BYTES and (path.suffix == ".py" or not is_sqlite(path))
        content = path.read_bytes() if whole else b""
        found.update(f"\0{path.name}\0{stat.st_size}\0{'' if content else stat.st_mtime_ns}\0".encode())
        found.update(content)
    return found.hexdigest()
