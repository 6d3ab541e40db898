"""Loads a sweep file into a checked ``SweepSpec``, or reports all of its errors at once."""

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.core.errors import SpecError
from orchestrator.core.tasks.objective_facts import ObjectiveFacts
from orchestrator.spec.build import Draft, build_spec
from orchestrator.spec.document.overrides import apply_overrides, parse_overrides
from orchestrator.spec.document.problems import Place, Problems
from orchestrator.spec.document.yaml_text import MAX_BYTES, read_yaml
from orchestrator.spec.sections.structure import sections
from orchestrator.spec.sweep_spec import SweepSpec


def load_spec(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    objective_facts: Callable[[str], ObjectiveFacts],
    packaged: Collection[str],
) -> SweepSpec:
    """Return the checked sweep of a file.

    Args:
        path: the YAML file; messages contain the path as given here.
        overrides: texts ``a.b=value``, applied to the file in order.
        objective_facts: returns an objective's facts by name or path; raises ``UserError`` for an unknown one.
        packaged: names of the packaged assets.

    Raises:
        SpecError: the file breaks rules; one line per error, ordered by place.
    """
    return load_text(read_text(path), path, overrides, objective_facts=objective_facts, packaged=packaged)


def load_text(
    text: str,
    path: Path,
    overrides: Sequence[str] = (),
    *,
    objective_facts: Callable[[str], ObjectiveFacts],
    packaged: Collection[str],
    name: str | None = None,
) -> SweepSpec:
    """Return the checked sweep of a text. See ``load_spec``.

    Args:
        text: the content of a sweep file, or made from the options of a command.
        path: its place; relative paths start from its folder.
        overrides: ``a.b=value`` each.
        objective_facts: as in ``load_spec``.
        packaged: as in ``load_spec``.
        name: place in messages, for a text that no user can see; None: ``path`` with line and column.
    """
    problems = Problems(places={})

    def place(line: int, column: int) -> Place:
        written = Place.in_file(str(path), line, column)
        return written if name is None else replace(written, label=f"{name}:")

    values = read_yaml(text, problems, (), place)
    if not isinstance(values, dict):
        if not problems.is_broken(()):
            problems.add((), "the file is empty" if values is None else "a mapping of keys to values is needed")
        problems.fail()
    parsed_overrides = parse_overrides(overrides, problems)
    apply_overrides(values, parsed_overrides, problems)
    draft = Draft(
        path=path,
        text=text,
        overrides=tuple(parsed_overrides),
        file=sections(values, problems),
        parameters=_parameter_names(values),
        problems=problems,
    )
    return build_spec(draft, objective_facts, packaged)


def _parameter_names(values: dict[str, Any]) -> tuple[str, ...]:
    """Return the names in ``search.space`` in file order; the pydantic sections lose this order."""
    search = values.get("search")
    space = search.get("space") if isinstance(search, dict) else None
    return tuple(space) if isinstance(space, dict) else ()


def _nearest(path: Path) -> str:
    """Return ``; did you mean x?`` for a similar sweep file in the folder of ``path`` or its ``sweeps``, else ''."""
    files = {str(file): file for folder in (path.parent, path.parent / "sweeps") for file in folder.glob("*.y*ml")}
    by_stem = {file.stem: name for name, file in reversed(files.items())}
    near = difflib.get_close_matches(str(path), files, n=1)
    stems = [path.stem] if path.stem in by_stem else difflib.get_close_matches(path.stem, by_stem, n=1)
    similar = [by_stem[stem] for stem in stems] or near
    return f"; did you mean {similar[0]}?" if similar else ""


def read_text(path: Path) -> str:
    """Return the text of a file with its line ends as newlines.

    Raises:
        SpecError: the file does not exist, is too large or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SpecError(f"{path}:1:1 a sweep file has at most {MAX_BYTES // 1024} KiB, got more")
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file{_nearest(path)}") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: a file is needed, got a folder") from None
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise SpecError(f"{path}: UTF-8 text is needed, got {byte}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read, {error.strerror}") from None
