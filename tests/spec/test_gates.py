"""Gates in a sweep file and in a policy file."""

from pathlib import Path

import pytest

from orchestrator.core.errors import SpecError
from orchestrator.core.sweeps.gates import Gates, MetricBound
from orchestrator.spec.policy import load_policy, stored_gates
from tests.spec.facts import load

SWEEP = """
name: small
objective: sentiment
search: {space: {rank: {choices: [4, 8]}}}
budget: {trials: 4}
"""
GATES = """
gates:
  champion_gain: 0.01
  gap: null
  size_bytes: 4.0e6
  metrics: {test/loss: {max: 0.5}}
"""
EXPECTED = Gates(
    champion_gain=0.01,
    gap=None,
    size_bytes=4_000_000,
    metrics={"test/loss": MetricBound(max=0.5)},
    written=frozenset({"champion_gain", "gap", "size_bytes", "metrics"}),
)


def test_sweep_file_and_policy_give_same_gates(tmp_path: Path) -> None:
    sweep, policy = tmp_path / "small.yaml", tmp_path / "policy.yaml"
    sweep.write_text(SWEEP + GATES)
    policy.write_text(GATES)
    assert load(sweep).gates == load_policy(policy) == stored_gates(load(sweep).text) == EXPECTED
    assert EXPECTED.binds("size_bytes")
    assert not EXPECTED.binds("baseline_gain")


def test_absent_section_gives_defaults(tmp_path: Path) -> None:
    sweep = tmp_path / "small.yaml"
    sweep.write_text(SWEEP)
    assert load(sweep).gates == stored_gates(SWEEP) == stored_gates(SWEEP + "gates:\n") == Gates()
    assert load(sweep, "gates.gap=0.3").gates == Gates(gap=0.3, written=frozenset({"gap"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gates: {gapp: 1}", ":1:9 gates.gapp: unknown key; did you mean gap?"),
        ("gates:\n  p_value: 2", ":2:12 gates.p_value: a value < 0.5 is needed, got 2"),
        ("gates: {champion_gain: -1}", ":1:24 gates.champion_gain: a value >= 0 is needed, got -1"),
        ("gates: {metrics: {x: {}}}", ":1:22 gates.metrics.x: min, max or both are needed, got {}"),
        (
            "gates: {metrics: {x: {min: 2, max: 1}}}",
            ":1:22 gates.metrics.x: min <= max is needed, got {min: 2, max: 1}",
        ),
        ("name: small\ngates: {}", ":1:1 name: a policy file has only the section gates"),
        ("gap: 0.5", ":1:1 a mapping with the section gates is needed"),
        ("", ":1:1 a mapping with the section gates is needed"),
        ("gates: [", " is not valid YAML"),
    ],
)
def test_broken_policy_names_place_and_remedy(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_policy(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_missing_policy_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"policy\.yaml: no such file"):
        load_policy(tmp_path / "policy.yaml")
