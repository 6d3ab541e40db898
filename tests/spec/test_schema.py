"""The JSON Schema: current, and in agreement with the loader."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.core.trials.settings import SETTING_RULES
from orchestrator.spec.document.problems import Place, Problems
from orchestrator.spec.document.yaml_text import read_yaml
from orchestrator.spec.schema import json_schema

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").rglob("*.yaml"))


def _values(path: Path) -> Any:
    return read_yaml(path.read_text(), Problems(places={}), (), lambda line, column: Place.in_file("x", line, column))


def test_the_shipped_schema_is_current() -> None:
    written = json.loads((ROOT / "sweeps/sweep.schema.json").read_text())
    assert written == json_schema(), "run: python -m orchestrator schema > sweeps/sweep.schema.json"


def test_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweeps_match_schema(path: Path) -> None:
    jsonschema.validate(_values(path), json_schema(), jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    "name",
    [
        "missing_keys",
        "missing_space",
        "unknown_top_keys",
        "unknown_setting",
        "wrong_types",
        "bad_name",
        "adapter_settings",
        "training_settings",
        "budget_values",
        "early_stopping_values",
        "report_samples_values",
        "early_stopping_off",
        "unknown_sampler",
        "hub_mapping",
    ],
)
def test_schema_finds_errors_of_single_keys(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(_values(ROOT / f"tests/spec/broken/{name}.yaml"), json_schema())


def test_every_setting_has_both_descriptions() -> None:
    definitions = json_schema()["$defs"]
    for name, rule in SETTING_RULES.items():
        fixed = definitions[rule.group.capitalize()]["properties"][name]
        assert fixed["description"].startswith(rule.doc)
        assert fixed["default"] == rule.default
        assert definitions["SpaceSection"]["properties"][name]["description"].startswith(rule.doc)


def test_every_key_has_a_description() -> None:
    schema = json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for key, item in section.get("properties", {}).items():
            assert item.get("description"), key
