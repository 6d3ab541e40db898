"""Loads the gates of ``promote``: from a policy file, or from the stored text of a sweep file."""

from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML

from orchestrator.core.sweeps.gates import Gates
from orchestrator.spec.document.problems import Place, Problems
from orchestrator.spec.document.yaml_text import read_yaml
from orchestrator.spec.load import read_text
from orchestrator.spec.sections.fields import Section
from orchestrator.spec.sections.gates import GatesSection
from orchestrator.spec.sections.messages import location, message


class _PolicyFile(Section):
    gates: GatesSection


def load_policy(path: Path) -> Gates:
    """Return the gates of a policy file: a YAML file with the section ``gates`` alone.

    Raises:
        SpecError: the file breaks rules; one line per error, with its place.
    """
    problems = Problems(places={})
    values = read_yaml(read_text(path), problems, (), lambda line, column: Place.in_file(str(path), line, column))
    problems.raise_if_any()
    if not isinstance(values, dict) or "gates" not in values:
        problems.add((), "a mapping with the section gates is needed")
        problems.fail()
    for key in values.keys() - {"gates"}:
        problems.add((key,), "a policy file has only the section gates", at_key=True)
    try:
        gates = _PolicyFile.model_validate({"gates": values["gates"] or {}}).gates
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            at_key = detail["type"] == "extra_forbidden"
            problems.add_if_unrelated(location(detail), message(detail), at_key=at_key)
        problems.fail()
    problems.raise_if_any()
    return gates.bounds()


def stored_gates(spec_text: str) -> Gates:
    """Return the gates of a stored sweep file. It was checked before it was stored."""
    stored = YAML(typ="safe", pure=True).load(spec_text) or {}
    return GatesSection.model_validate(stored.get("gates") or {}).bounds()
