"""``quantisation`` in a sweep file: what it stands for, what it excludes, and that it may not change."""

import sys
from pathlib import Path

import pytest

from orchestrator.core.quantisation import Quantisation
from orchestrator.spec.fingerprint import differences
from tests.spec.facts import SMALL, load, message, pretend_installed


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sweep file, on a machine that has bitsandbytes."""
    pretend_installed("bitsandbytes", monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALL)
    return Path("small.yaml")


def test_it_may_not_change_while_a_sweep_goes_on(path: Path) -> None:
    plain, quantised = load(path), load(path, "quantisation=nf4")
    assert (plain.quantisation, quantised.quantisation) == (None, Quantisation.NF4)
    assert "quantisation" not in plain.fingerprint()  # sweeps of before there was such a key go on
    lines = differences(plain.fingerprint(), quantised.fingerprint())
    assert lines == ["quantisation: (absent) → nf4"]


@pytest.mark.parametrize(
    ("override", "place"),
    [
        ("adapter.init=pissa", "adapter.init"),
        ("adapter.init=orthogonal", "adapter.init"),
        ("search.space.init={choices: [default, pissa]}", "search.space.init"),
    ],
)
def test_inits_that_need_the_weights_are_refused(path: Path, override: str, place: str) -> None:
    rule = "default and gaussian alone are possible with quantisation=nf4, got "
    assert message(path, "quantisation=nf4", override).startswith(f"--set {override} {place}: {rule}")
    assert load(path, override)
    assert load(path, "quantisation=nf4", "adapter.init=gaussian")


@pytest.mark.parametrize(
    ("override", "place", "got"),
    [
        ("adapter={method: loha, rank: 4}", "adapter.method", "loha"),
        ("search.space.method={choices: [ia3, lokr, loha]}", "search.space.method", "loha"),
    ],
)
def test_methods_that_have_the_weights_shape_are_refused(path: Path, override: str, place: str, got: str) -> None:
    path.write_text(SMALL.replace("rank: {choices: [4, 8]}", "learning_rate: {choices: [1.0e-3, 2.0e-3]}"))
    rule = "lora, ia3, vera alone are possible with quantisation=nf4, got "
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
