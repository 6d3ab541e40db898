"""Property tests: any sweep file loads or gives messages with places."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.core.errors import SpecError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.load import load_spec
from tests.spec.facts import PACKAGED, objective_facts
from tests.spec.test_load import FULL

WHOLE: dict[str, Any] = yaml.safe_load(FULL)
SCALARS = st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.sampled_from(
    ["", "x", "rank", "none", "1e-4", "hub:", "hub:a/b", "./x", "a/b", "90s", "minilm", "val/loss", "tpe"]
)  # fmt: skip
KEYS = ["rank", "low", "high", "hub", "name", "choices", "when", "", "a b"]
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rank", "low", "high", "hub", "name", "choices", "when", "", "a b"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path, *(inner for key, item in items for inner in _paths(item, (*path, key)))]


PATHS = [path for path in _paths(WHOLE) if path]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.sampled_from(PATHS), JUNK), min_size=1, max_size=3),
    drop=st.sampled_from([None, *WHOLE]),
)
def test_any_values_load_or_give_messages(
    tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]], drop: str | None
) -> None:
    values = json.loads(json.dumps(WHOLE))
    for path, junk in changes:
        inside = values
        for key in path[:-1]:
            inside = inside[key] if isinstance(inside, list | dict) and _has(inside, key) else None
        if isinstance(inside, list | dict) and _has(inside, path[-1]):
            inside[path[-1]] = junk
    if drop is not None:
        del values[drop]
    file = tmp_path / "any.yaml"
    file.write_text(json.dumps(values).replace("NaN", ".nan").replace("Infinity", ".inf"))
    for line in _messages(file):
        assert re.match(rf"{re.escape(str(file))}:\d+:\d+ .", line)


def _messages(file: Path) -> list[str]:
    try:
        spec = load_spec(file, objective_facts=objective_facts, packaged=PACKAGED)
    except SpecError as error:
        return str(error).splitlines()
    TrialSettings.from_params(spec.fixed)
    json.dumps(fingerprint(spec))
    return []


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else isinstance(key, int) and key < len(container)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.sampled_from("ab:{}[]-,'\"#&*!|>%@` \n\t?0.~<"), max_size=40))
def test_any_text_gives_messages(tmp_path: Path, text: str) -> None:
    file = tmp_path / "any.yaml"
    file.write_text(text)
    for line in _messages(file):
        assert line.startswith(f"{file}:")
