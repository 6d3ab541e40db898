"""``quantisation`` in a sweep file: its errors, and the refusal of a change on resume."""

import sys
from pathlib import Path

import pytest

from orchestrator.core.methods.quantisation import Quantisation
from orchestrator.spec.fingerprint import differences, fingerprint
from tests.spec.facts import SMALL, load, message, pretend_installed


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file, on a machine with bitsandbytes."""
    pretend_installed("bitsandbytes", monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return Path("small.yaml")


def test_resume_refuses_other_quantisation(path: Path) -> None:
    plain, quantised = load(path), load(path, "quantisation=nf4")
    assert (plain.quantisation, quantised.quantisation) == (None, Quantisation.NF4)
    assert "quantisation" not in fingerprint(plain)  # sweeps from before this key can resume
    lines = differences(fingerprint(plain), fingerprint(quantised))
    assert lines == ["quantisation: (absent) → nf4"]


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("adapter.init=pissa", "adapter.init"),
        ("adapter.init=orthogonal", "adapter.init"),
        ("search.space.init={choices: [default, pissa]}", "search.space.init"),
    ],
)
def test_quantisation_refuses_inits_from_weights(path: Path, override: str, place: str) -> None:
    rule = "quantisation=nf4 supports the inits default, gaussian, loftq, got "
    assert message(path, "quantisation=nf4", override).startswith(f"--set {override} {place}: {rule}")
    assert load(path, override)
    assert load(path, "quantisation=nf4", "adapter.init=gaussian")


def test_loftq_needs_a_base_in_4_bits(path: Path) -> None:
    rule = "adapter.init: loftq corrects the rounding of a base model in 4 bits; add quantisation: nf4"
    assert rule in message(path, "adapter.init=loftq")
    assert rule in message(path, "quantisation=int8", "adapter.init=loftq")
    assert load(path, "quantisation=fp4_single", "adapter.init=loftq")


@pytest.mark.parametrize(
    ("override", "place", "got"),
    [
        ("adapter={method: loha, rank: 4}", "adapter.method", "loha"),
        ("search.space.method={choices: [ia3, lokr, loha]}", "search.space.method", "loha"),
    ],
)
def test_quantisation_refuses_methods_of_weight_shape(path: Path, override: str, place: str, got: str) -> None:
    path.write_text(SMALL.replace("rank: {choices: [4, 8]}", "learning_rate: {choices: [1.0e-3, 2.0e-3]}"))
    rule = "quantisation=nf4 supports the methods lora, ia3, vera, got "
    assert message(path, "quantisation=nf4", override) == f"--set {override} {place}: {rule}{got}"
    assert load(path, override)
    assert load(path, "quantisation=nf4", "search.space.method={choices: [lora, ia3, vera]}")


def test_a_missing_package_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    path.write_text(f"quantisation: nf4\n{SMALL}")
    rule = "nf4 needs a package that is not installed; install it with: pip install bitsandbytes"
    assert message(path) == f"small.yaml:1:15 quantisation: {rule}"
    path.write_text(SMALL)
    assert load(path)
