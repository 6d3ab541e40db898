"""A sweep file whose objective is a function: any parameters, and errors with their places."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from orchestrator.core.metric import Direction
from orchestrator.core.space import Choices, FloatRange, IntRange
from orchestrator.core.sweeps.plan import EngineName
from orchestrator.spec.fingerprint import differences, fingerprint, stored_space
from orchestrator.spec.schema import json_schema
from tests.spec.facts import load, message

WHOLE = """\
name: mine
objective: my_run.py:run
function: {samples: 2000, metrics: {f1: maximize, loss: minimize}, values: {path: rows.csv}, test: test}
search:
  space:
    layers: {low: 1, high: 4}
    rate: {low: 1.0e-4, high: 1, log: true}
    rank: {choices: [2, small, true, null]}
    beta: {low: 0, high: 0.5, step: 0.1, when: {rank: small}}
  start: [{layers: 2, rank: small, beta: 0.1}]
budget: {trials: 4}
"""
CODE = """\
raise RuntimeError("validate must not execute this file")
def run(config, report): ...
def test(config, checkpoint): ...
def other(config): ...
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    (tmp_path / "my_run.py").write_text(CODE)

    def write(*changes: tuple[str, str]) -> Path:
        text = WHOLE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return file

    return write


def test_function_has_parameters_with_any_names(write: Any, tmp_path: Path) -> None:
    spec = load(write())
    layers, rate, rank, beta = (parameter.distribution for parameter in spec.space.parameters)
    assert layers == IntRange(low=1, high=4)
    assert rate == FloatRange(low=1e-4, high=1.0, log=True)
    assert rank == Choices(choices=(2, "small", True, None))
    assert isinstance(beta, FloatRange)
    assert stored_space(fingerprint(spec)) == spec.space
    assert spec.fixed == {"path": "rows.csv"}
    assert spec.function is not None
    assert spec.function.path == str(tmp_path / "my_run.py")
    assert spec.metric.name == "val/f1"
    assert spec.metric.direction is Direction.MAXIMIZE
    assert spec.resources.engine is EngineName.FUNCTION
    assert spec.samples(7) == 2000


def test_changed_values_of_a_function_are_another_search(write: Any) -> None:
    before = fingerprint(load(write()))
    after = fingerprint(load(write(("rows.csv", "other.csv"), ("samples: 2000", "samples: 3000"))))
    assert differences(before, after) == ["function.samples: 2000 → 3000", "function.values.path: rows.csv → other.csv"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("my_run.py:run", "none.py:run", ":2:12 objective: no such file, got 'none.py:run'"),
        (
            "my_run.py:run",
            "my_run.py:rn",
            ":2:12 objective: my_run.py must define a function at its top level, got 'rn'; did you mean run?",
        ),
        ("my_run.py:run", "my_run.py:other", ":2:12 objective: other in my_run.py must take two arguments, config and"),
        (
            "test: test",
            "test: tst",
            ":3:100 function.test: my_run.py must define a function at its top level, got 'tst'",
        ),
        ("samples: 2000, ", "", ":3:1 function.samples: is required for a function"),
        (
            "f1: maximize",
            "val/f1: maximize",
            ":3:37 function.metrics.val/f1: a name without a split is needed, because 'f1' stands for val/f1, got",
        ),
        ("f1: maximize", "f1: up", "function.metrics.f1: one of minimize, maximize is needed, got 'up'"),
        (
            "path: rows.csv",
            "db_password: geheim",
            "function.values.db_password: its name is that of a secret, and values",
        ),
        ("test: test", "python: nowhere", "function.python: the path of a Python interpreter is needed, got 'nowhere'"),
        ("budget:", "model: minilm\nbudget:", ":11:1 model: a function reads its model and its data itself"),
        ("budget:", "training: {epochs: 2}\nbudget:", ":11:1 training: a function reads its model and its data itself"),
        ("budget:", "resources: {engine: packed}\nbudget:", ":11:21 resources.engine: function is needed"),
        ("budget:", "tracking: {record: true}\nbudget:", ":11:12 tracking.record: a function has no test rows"),
        ("budget:", "learning_curve: 2\nbudget:", ":11:1 learning_curve: a function reads its rows itself"),
        ("  start:", "  prior: ledger\n  start:", ":10:10 search.prior: none is needed for a function"),
        ("path: rows.csv", "layers: 3", ":6:5 search.space.layers: the value is searched here and fixed by function."),
        ("low: 1, high: 4", "low: a, high: 4", ":6:19 search.space.layers.low: a number is needed, got 'a'"),
        ("low: 1, high: 4", "low: 5, high: 4", "search.space.layers: low < high must hold, got low=5, high=4"),
        ("{layers: 2,", "{layers: 9,", "search.start.0.layers: a value in [1, 4] is needed, got 9"),
        ("when: {rank: small}", "when: {rank: 9}", "search.space.beta.when.rank: one of the choices 2, 'small', true"),
        ("budget:", "early_stopping: {reports: [1, 2001]}\nbudget:", "at most 2000, the samples of a trial (function."),
    ],
)
def test_error_names_place_and_remedy(write: Any, old: str, new: str, expected: str) -> None:
    assert expected in message(write((old, new)))


def test_keys_of_functions_are_refused_elsewhere(write: Any) -> None:
    found = message(
        write(("my_run.py:run", "sentiment"), ("budget:", "resources: {engine: function}\nbudget:"), (", null", ""))
    )
    assert ":3:1 function: applies only to an objective such as my_run.py:run, got objective='sentiment'" in found
    assert ":11:21 resources.engine: function needs an objective such as my_run.py:run" in found
    assert ":6:5 search.space.layers: unknown key" in found


def test_schema_knows_functions_and_settings(write: Any) -> None:
    values = YAML(typ="safe", pure=True).load(write())
    jsonschema.validate(values, json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "objective": "sentiment"}, json_schema())


def test_parameters_may_have_the_names_of_methods(write: Any) -> None:
    spec = load(write(("layers: {low", "copy: {low"), ("{layers: 2", "{copy: 2")))
    assert spec.space.parameters[0].name == "copy"
    assert spec.space.parameters[0].distribution == IntRange(low=1, high=4)


def test_gate_on_forgetting_is_refused(write: Any) -> None:
    text = message(write(("budget:", "gates: {forgetting: 0.1}\nbudget:")))
    assert "gates.forgetting" in text
    assert "no base model whose forgetting could be measured; remove this key" in text
