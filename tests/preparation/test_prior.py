"""The start points of ``search.prior``: in a new sweep, in a resumed one, and in words."""

from pathlib import Path

import pytest

from orchestrator.core.space import ParamValue
from orchestrator.ledger.ledger import Ledger
from orchestrator.preparation.engine_plan import plan_engine, plan_search
from orchestrator.preparation.prior import with_prior
from orchestrator.spec.fingerprint import differences, fingerprint
from orchestrator.spec.sweep_spec import SweepSpec
from tests.search.test_prior import store
from tests.search.worlds import open_ledger
from tests.spec.facts import SMALL, load

WEIGHTS = 22_713_986
RATE = "search.space.learning_rate={low: 1e-4, high: 3e-3, log: true}"
OWN = "search.start=[{rank: 4}]"
FROM_LEDGER = "search.prior=ledger"
SHIPPED_TEXT = "shipped: rank 8 (from measurements of lora on models of similar size; this one has 22.7M weights)"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = open_ledger(tmp_path)
    store(ledger, "topic", {0.8: {"rank": 4}}, objective="topic")
    store(ledger, "first", {0.7: {"rank": 4}, 0.9: {"rank": 8}})
    return ledger


def read(folder: Path, *overrides: str) -> SweepSpec:
    file = folder / "small.yaml"
    file.write_text(SMALL)
    return load(file, *overrides)


def points(spec: SweepSpec) -> list[dict[str, ParamValue]]:
    """Return the start points of the sweep's search."""
    return [dict(point) for point in plan_search(spec, plan_engine(spec, 100).timetable).start_points]


def test_new_sweep_starts_at_measured_rate(tmp_path: Path) -> None:
    spec, text = with_prior(read(tmp_path), None, None, WEIGHTS)
    assert (points(spec), text) == ([{"rank": 8}], SHIPPED_TEXT)
    spec, text = with_prior(read(tmp_path, RATE), None, None, WEIGHTS)
    assert text.startswith("shipped: rank 8, learning_rate 8")
    assert with_prior(read(tmp_path), None, None, 8_030_261_248)[1].endswith("this one has 8.03B weights)")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (("search.prior=none",), "none"),
        ((OWN,), "none added: the sweep file has its own start points"),
        (
            ("adapter={method: loha}",),
            "none added: only learning_rate, rank, batch_size and alpha of lora have measured values",
        ),
    ],
)
def test_nothing_is_added(overrides: tuple[str, ...], text: str, tmp_path: Path) -> None:
    written = read(tmp_path, *overrides)
    spec, said = with_prior(written, None, None, WEIGHTS)
    assert (spec, said) == (written, text)
    assert "prior" not in fingerprint(spec)


def test_ledger_points_follow_those_of_the_file(tmp_path: Path, ledger: Ledger) -> None:
    spec, text = with_prior(read(tmp_path, FROM_LEDGER), None, ledger, WEIGHTS)
    assert points(spec) == [{"rank": 8}, {"rank": 4}]
    assert text == (
        "ledger: rank 8 (the best of first#1, trial 1, with the same model and objective); rank 4 (the best of "
        "topic#1, trial 0, with the same model)"
    )
    spec, _ = with_prior(read(tmp_path, FROM_LEDGER, OWN), None, ledger, WEIGHTS)
    assert points(spec) == [{"rank": 4}, {"rank": 8}]


@pytest.mark.parametrize("model", ["smollm2", "minilm"])
def test_ledger_without_sweep_falls_back(model: str, tmp_path: Path, ledger: Ledger) -> None:
    known = ledger if model == "smollm2" else None
    spec, text = with_prior(read(tmp_path, FROM_LEDGER, f"model={model}"), None, known, WEIGHTS)
    assert points(spec) == [{"rank": 8}]
    assert text == f"this ledger has no finished sweep with {model} and these parameters; {SHIPPED_TEXT}"


@pytest.mark.parametrize("override", ["search.prior=shipped", FROM_LEDGER, "search.prior=none", OWN])
@pytest.mark.parametrize("now", ["search.prior=none", FROM_LEDGER, "search.start=[{rank: 8}]"])
def test_resumed_sweep_keeps_its_points(override: str, now: str, tmp_path: Path, ledger: Ledger) -> None:
    opened, _ = with_prior(read(tmp_path, override), None, ledger, WEIGHTS)
    stored = fingerprint(opened)
    store(ledger, "later", {1.0: {"rank": 4}})
    resumed, text = with_prior(read(tmp_path, now), stored, ledger, WEIGHTS)
    assert resumed.prior_points == opened.prior_points
    assert differences(stored, fingerprint(resumed)) == []
    assert text.startswith("rank 8" if opened.prior_points else "none (fixed when the sweep was opened)")


def test_sweep_without_stored_prior_has_none(tmp_path: Path, ledger: Ledger) -> None:
    stored = fingerprint(read(tmp_path))  # as stored before search.prior existed
    spec, text = with_prior(read(tmp_path, FROM_LEDGER), stored, ledger, WEIGHTS)
    assert (points(spec), text) == ([], "none (fixed when the sweep was opened)")
    assert fingerprint(spec) == stored
