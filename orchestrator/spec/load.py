"""From a sweep file to a checked ``SweepSpec``, or to every one of its errors at once."""

import difflib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from orchestrator.core.errors import SpecError
from orchestrator.core.objective_facts import ObjectiveFacts
from orchestrator.spec.build import Draft, build_spec
from orchestrator.spec.document import read_yaml
from orchestrator.spec.overrides import apply_overrides, parse_overrides
from orchestrator.spec.problems import Place, Problems
from orchestrator.spec.structure import sections
from orchestrator.spec.sweep_spec import SweepSpec


def load_spec(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    objective_facts: Callable[[str], ObjectiveFacts],
    packaged: Collection[str],
) -> SweepSpec:
    """Read, check and complete a sweep file.

    Args:
        path: the YAML file; messages name it as it is given here.
        overrides: ``a.b=value`` each, laid over the file in order.
        objective_facts: an objective's facts from its name or path; raises ``UserError`` if there is none.
        packaged: names of the packaged assets.

    Raises:
        SpecError: the file breaks rules; one line for each, in the order of their places.
    """
    text = _read_text(path)
    problems = Problems(places={})
    values = read_yaml(text, problems, (), lambda line, column: Place.in_file(str(path), line, column))
    if not isinstance(values, dict):
        if not problems.is_broken(()):
            problems.add((), "the file is empty" if values is None else "a mapping of keys to values is needed")
        problems.fail()
    laid_over = parse_overrides(overrides, problems)
    apply_overrides(values, laid_over, problems)
    draft = Draft(
        path=path,
        text=text,
        overrides=tuple(laid_over),
        file=sections(values, problems),
        parameters=_parameter_names(values),
        problems=problems,
    )
    return build_spec(draft, objective_facts, packaged)


def _parameter_names(values: dict[str, Any]) -> tuple[str, ...]:
    """Return the space's names in the order of the file, which the sections do not keep."""
    search = values.get("search")
    space = search.get("space") if isinstance(search, dict) else None
    return tuple(space) if isinstance(space, dict) else ()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        siblings = {str(sibling) for sibling in path.parent.glob("*.y*ml")}
        near = difflib.get_close_matches(str(path), siblings, n=1)
        raise SpecError(f"{path}: no such file{f'; did you mean {near[0]}?' if near else ''}") from None
    except IsADirectoryError:
        raise SpecError(f"{path}: a file is needed, got a folder") from None
    except UnicodeDecodeError as error:
        byte = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise SpecError(f"{path}: UTF-8 text is needed, got {byte}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read, {error.strerror}") from None
