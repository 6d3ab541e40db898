"""Numbers, texts and lists of a sweep file have limits, and so have the messages."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from orchestrator.core.errors import SpecError
from orchestrator.core.trials.settings import TrialSettings
from orchestrator.spec.document.problems import MAX_PROBLEMS
from orchestrator.spec.fingerprint import fingerprint
from orchestrator.spec.load import load_spec
from orchestrator.spec.schema import json_schema
from tests.spec.facts import PACKAGED, SMALL, load, message, objective_facts
from tests.spec.test_any_file import PATHS, WHOLE

MOST_CHARACTERS = 200_000


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("small.yaml")
    path.write_text(SMALL)
    return path


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (f"adapter: {{alpha: 1{'0' * 400}}}", "4:18 adapter.alpha: a whole number between -2^63 and 2^63 is needed"),
        (f"adapter: {{alpha: 1{'0' * 5000}}}", "4:18 adapter.alpha: a whole number between -2^63 and 2^63 is needed"),
        ("adapter: {alpha: 0xffffffffffffffffff}", "4:18 adapter.alpha: a whole number between -2^63 and 2^63 is"),
        ("adapter: {alpha: 1e400}", "4:18 adapter.alpha: a finite number is needed, got 1e400"),
        ("adapter: {alpha: 1e300}", "4:18 adapter.alpha: a value <= 1e+38 is needed, got 1e+300"),
        ("training: {learning_rate: 5e-324}", "4:27 training.learning_rate: a value >= 1e-30 is needed, got 5e-324"),
        ("data: {train: 1e30}", "4:15 data.train: a value <= 1e+12 is needed, got 1000000000000000019884624838656"),
        ("early_stopping: {reports: [1e300]}", "4:27 early_stopping.reports: at most 1000 reports, at"),
        ("resources: {gpus_per_trial: 1e-9}", "4:29 resources.gpus_per_trial: 0 or a value >= 0.0001 is needed"),
        ("resources: {parallel_trials: 1000000000}", "4:30 resources.parallel_trials: a value <= 1024 is needed"),
        (f"description: {'x' * 5001}", "4:14 description: a text of at most 5000 characters is needed, got 5,001"),
        (f"model: ./{'x' * 300}", "4:8 model: cannot be read: File name too long, got './xxx"),
        (f"model: {'./y' * 1500}", "4:8 model: a text of at most 4096 characters is needed, got 4,500"),
        (f"data: {{source: {'x' * 300}.csv}}", "4:16 data.source: cannot be read: File name too long, got 'xxx"),
        ("data: {source: ~nobody-of-that-name/x.csv}", "4:16 data.source: is not a valid path: Could not"),
        (f"tracking: {{uri: 'sqlite:///{'x' * 300}/a.db'}}", "4:17 tracking.uri: a name in a path has at most"),
        (f"tracking: {{uri: {'é' * 200}}}", "4:17 tracking.uri: a name in a path has at most 255 bytes, got"),
        ('model: "a\\0b"', "4:8 model: is not a valid path: embedded null byte, got 'a\\x00b'"),
    ],
)  # fmt: skip
def test_extreme_values_get_one_sentence(path: Path, written: str, rule: str) -> None:
    lines = SMALL.splitlines()
    path.write_text("\n".join([*lines[:2], "seed: 0", written, *lines[2:]]))
    assert message(path).startswith(f"small.yaml:{rule}")
    assert "\n" not in message(path)
    assert len(message(path)) < 500


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ("budget.trials=1000000000000000000000000000000", "a whole number between -2^63 and 2^63 is needed"),
        ("budget.trials=1e30", "a value <= 1e+06 is needed"),
        ("budget={wall_time: 5e-05}", "a time between 0.1 s and 10 years is needed, got 5e-05"),
        ("budget={wall_time: 1e9h}", "a time such as 90s, 20m or 1h30m is needed, got '1e9h'"),
        ("budget={wall_time: 99999999h}", "a time between 0.1 s and 10 years is needed"),
        ("budget={tokens: 1e16}", "a value <= 1e+15 is needed"),
        ("a." * 30 + "a=1", "at most 20 keys, and list positions of 6 digits, are possible"),
        (f"search.start.{'1' * 5000}=1", "at most 20 keys, and list positions of 6 digits, are possible"),
        (f"seed={'1' * 5000}", "a whole number between -2^63 and 2^63 is needed, got 111"),
    ],
)
def test_extreme_overrides_get_one_sentence(path: Path, written: str, rule: str) -> None:
    assert rule in message(path, written)
    assert len(message(path, written)) < 1500


@pytest.mark.parametrize(
    "name", ["..", ".", ".hidden", "-rf", "a/b", "a\\b", "a b", '"a\\nb"', '"a\\eb"', "ü", "x" * 101]
)
def test_invalid_names_are_refused(path: Path, name: str) -> None:
    path.write_text(SMALL.replace("small", name, 1))
    found = message(path)
    assert found.startswith("small.yaml:1:7 name: a name ")
    assert found.isprintable()
    schema = Draft202012Validator(json_schema()["properties"]["name"])
    assert not schema.is_valid(yaml.safe_load(path.read_text())["name"])
    path.write_text(SMALL + f"data: {{shift: {{{name}: vader-product}}}}")
    assert "data.shift" in message(path)


@pytest.mark.parametrize("name", ["a", "7b", "_x", "mood-v1.2", "x" * 100])
def test_valid_names_are_accepted(path: Path, name: str) -> None:
    path.write_text(SMALL.replace("small", f"'{name}'", 1))
    assert load(path).name == name


def test_thousands_of_choices_give_one_message(path: Path) -> None:
    path.write_text(SMALL.replace("[4, 8]", str([*range(2, 3002)])))
    assert message(path) == (
        "small.yaml:5:21 search.space.rank.choices: at most 1000 items are possible, got 3,000; "
        "write a range of numbers as low and high"
    )


@pytest.mark.parametrize(
    "text",
    [
        "objective: sentiment\n" + "".join(f"k{n}: 1\n" for n in range(3000)),
        SMALL.replace("rank: {choices: [4, 8]}", f"rank: {{choices: {[*range(1, 1001)]}}}")
        + "".join(f"k{n}: 1\n" for n in range(3000)),
        SMALL.replace("rank: {choices: [4, 8]}", f"schedule: {{choices: {[*range(1, 1001)]}}}"),
        SMALL.replace("rank: {choices: [4, 8]}", f"rank: {{choices: {['x' * 80] * 1000}}}"),
        SMALL.replace("  space:", f"  start: {[{'rank': n} for n in range(1000)]}\n  space:"),
        SMALL.replace("  space:", f"  start: {[{f'rnk{n}': n} for n in range(1000)]}\n  space:"),
        SMALL.replace("8]}", f"8]}}\n    alpha: {{low: 1, high: 2, when: {{rank: {[*range(1000)]}}}}}"),
    ],
)
def test_message_lists_a_limited_number_of_problems(path: Path, text: str) -> None:
    path.write_text(text)
    lines = message(path).splitlines()
    assert len(lines) == MAX_PROBLEMS + 1
    assert lines[-1].endswith(f"has more than {MAX_PROBLEMS} problems; the first {MAX_PROBLEMS} are listed")
    assert sum(map(len, lines)) < MOST_CHARACTERS


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[" * 1000, "values are nested more than 30 levels deep"),
        ("a: " + "[" * 40 + "]" * 40, "values are nested more than 30 levels deep"),
        ("{a: " * 1000, "values are nested more than 30 levels deep"),
        ("a: &a {<<: *a}\n", "an alias must not contain itself"),
        ("k0: &a0 {x: 1}\n" + "".join(
            f"k{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)
        ), "aliases expand to more than 20000 values"),
        ("# " + "x" * 300_000, "a sweep file has at most 128 KiB, got more"),
        ("%YAML 1.1\n---\n%YAML 3.9\n---\n1_0", "small.yaml:1:1 is not valid YAML 1.2"),
        ("!!float low: 1\n", "small.yaml:1:1 a key must be a plain word"),
        ("%YAML 1.1\n---\nseed: " + "1:" * 4000 + "1.0\n", "seed: "),
    ],
)  # fmt: skip
def test_exploding_files_are_refused(path: Path, text: str, rule: str) -> None:
    path.write_text(text)
    assert rule in message(path)
    assert len(message(path)) < MOST_CHARACTERS


def test_large_choice_lists_of_several_settings_are_read(path: Path) -> None:
    many = [*range(1, 1001)]
    space = f"rank: {{choices: {many}}}\n    batch_size: {{choices: {many}}}\n    max_length: {{choices: {many[1:]}}}\n"
    space += "    init: {choices: [default, gaussian], when: {rank: [1, 2], batch_size: 3, max_length: 4}}"
    path.write_text(SMALL.replace("rank: {choices: [4, 8]}", space))
    assert len(load(path).space.parameters) == 4


def test_too_many_steps_are_refused(path: Path) -> None:
    path.write_text(SMALL.replace("rank: {choices: [4, 8]}", "alpha: {low: 1, high: 2, step: 5e-324}"))
    assert "search.space.alpha.step: at most 2,000,000 steps from low to high are possible" in message(path)


EXTREME = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63 - 1, 2**63, 10**30, 10**400, -(10**400), 0, -1])
    | st.floats()
    | st.sampled_from([5e-324, 1e-320, 1.7e308, 1e15, 0.1 + 0.2, float("inf"), float("nan")])
    | st.text(max_size=12)
    | st.sampled_from(
        ["..", ".", "-x", "a/b", "x" * 300, "x/" * 3000, "~", "~nobody", "\0", "a\nb", "\x1b[31m", "1e400"]
    )
    | st.sampled_from(
        [5e-5, "1e30s", "https://user:secret@host", [*range(1200)], ["x" * 80] * 50, {"low": 1, "high": 1e308}]
    )
)
DEEP = st.recursive(
    EXTREME,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["low", "high", "step", "choices", "when", "rank", "hub", "x" * 300, "a\n"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(PATHS), DEEP), min_size=1, max_size=3))
def test_extreme_values_load_or_give_short_messages(tmp_path: Path, changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    values = json.loads(json.dumps(WHOLE))
    for place, extreme in changes:
        inside = values
        for key in place[:-1]:
            inside = inside[key] if isinstance(inside, dict) and key in inside else None
        if isinstance(inside, dict):
            inside[place[-1]] = extreme
    file = tmp_path / "any.yaml"
    file.write_text(json.dumps(values).replace("NaN", ".nan").replace("Infinity", ".inf"))
    for line in _messages(file):
        assert re.match(rf"{re.escape(str(file))}:\d+:\d+ .", line)
        assert line.isprintable()
        assert "secret" not in line


def _messages(file: Path) -> list[str]:
    try:
        spec = load_spec(file, objective_facts=objective_facts, packaged=PACKAGED)
    except SpecError as error:
        lines = str(error).splitlines()
    else:
        lines = []
        TrialSettings.from_params(spec.fixed)
        json.dumps(fingerprint(spec), allow_nan=False)
    assert sum(map(len, lines)) < MOST_CHARACTERS
    return lines


class TestPasswords:
    @pytest.mark.parametrize(
        "written",
        [
            "uri: https://ann:pw-1@host",
            "{uri: 'https://ann:pw-1@host', registry_uri: \"postgresql://ann:pw-1@host/db\"}",
            "{uri: sqlite:///x.db?password=pw-1, keep_adapters: 1}",
            "{uri: https://ann:pw-1@host}",
            "# https://ann:pw-1@host\n  {uri: https://ann:pw-1@host}",
        ],
    )
    def test_password_is_masked_in_text(self, path: Path, written: str) -> None:
        path.write_text(SMALL + f"tracking:\n  {written}\n")
        spec = load(path)
        assert "pw-1" in str(spec.tracking.uri)
        assert "pw-1" not in spec.text
        stored, given = (YAML(typ="safe", pure=True).load(text) for text in (spec.text, path.read_text()))
        assert stored["tracking"].keys() == given["tracking"].keys()
        assert "small.yaml:" in spec.warnings[0]
        assert "tracking.uri: contains a password" in spec.warnings[0]
        assert "pw-1" not in "".join(spec.warnings)
        path.write_text(spec.text)
        assert fingerprint(load(path)) == fingerprint(spec)

    @pytest.mark.parametrize(
        "written",
        [
            "uri: \"https://ann:pw-1\\x40host\"",
            "uri: \"https://ann:\\\n    pw-1@host\"",
            "{uri: sqlite:///x.db?password=pw-1,keep_adapters: 1}",
            "uri: https://ann:pw 1@host",
        ],
    )  # fmt: skip
    def test_password_without_mask_is_refused(self, path: Path, written: str) -> None:
        path.write_text(SMALL + f"tracking:\n  {written}\n")
        assert re.match(r"small.yaml:8:\d+ tracking.uri: an address ", message(path))

    def test_password_of_override_is_masked(self, path: Path) -> None:
        spec = load(path, "tracking.uri=https://ann:pw-1@host")
        assert "pw-1" not in spec.text + "".join(spec.warnings)
        assert spec.tracking.uri == "https://ann:pw-1@host"
        assert "pw-1" not in message(path, "tracking.uri=https://ann:pw-1@host", "seed=x")

    def test_password_is_masked_before_truncation(self, path: Path) -> None:
        address = f"https://{'a' * 40}:pw-1{'b' * 800}@host"
        for value in (address, f"[{address}]", f"{{a: [{address}]}}", f"{'x' * 200}/{address}"):
            assert "pw-1" not in message(path, f"tracking.uri={value}", "seed=x")

    @pytest.mark.parametrize(
        ("override", "key"),
        [
            ("adapter.target_modules='x?access_token=pw-1'", "adapter.target_modules"),
            ("data.prompt='password=pw-1 {text}'", "data.prompt"),
            ("data.source='sqlite:///small.yaml?query=SELECT text FROM t WHERE x=5&token=pw-1'", "data.source"),
            ("data.source='mariadb://ann@h/d?init_command=SET%20PASSWORD%3Dpw-1&query=SELECT 1'", "data.source"),
            ("data.source='postgresql://ann@h/d?query=SELECT dblink(''password=pw-1'')'", "data.source"),
            ("data.source='s3://KEY:pw-1@bucket/rows.csv'", "data.source"),
        ],
    )
    def test_password_of_stored_value_is_refused(self, path: Path, override: str, key: str) -> None:
        found = message(path, override)
        assert re.search(rf" {key}: .*(password|token|Download it first)", found)
        assert "pw-1" not in found

    def test_file_without_password_gives_no_warning(self, path: Path) -> None:
        assert load(path, "tracking.uri=http://localhost:5000").warnings == ()
