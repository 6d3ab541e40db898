"""``sweep --smoke``: every shipped sweep file as two trials on few rows, under a name of its own."""

from pathlib import Path

import pytest

from orchestrator.cli.smoke import smoke_overrides
from orchestrator.core.data import Origin
from orchestrator.stores import read_spec
from tests.e2e.smoke import EXTRAS, SHIPPED, STAND_INS, overrides
from tests.spec.facts import OPTIONAL, pretend_installed


def test_hub_models_of_shipped_sweeps_have_stand_ins() -> None:
    """``make smoke`` runs without the hub."""
    models = [read_spec(file).model for file in SHIPPED if file.stem not in EXTRAS]
    assert {model.name for model in models if model.origin is Origin.HUB} == {*STAND_INS}


def test_own_files_keep_their_hub_model(tmp_path: Path) -> None:
    shipped = (SHIPPED[0].parents[2] / "sweeps/text_pairs.yaml").read_text()
    (tmp_path / "my.yaml").write_text(shipped.replace("FacebookAI/roberta-base", "ann/base"))
    assert read_spec(tmp_path / "my.yaml").model.name == "ann/base"
    assert not [*overrides(tmp_path / "my.yaml", tmp_path)]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_sweep_becomes_small(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if file.stem in OPTIONAL:
        pretend_installed(OPTIONAL[file.stem], monkeypatch)
    whole = read_spec(file)
    small = read_spec(file, smoke_overrides(whole))
    assert small.name == f"{whole.name}-smoke"
    assert (small.budget.trials, small.budget.wall_time_s, small.stopping.reports) == (2, None, 2)
    assert small.metric == whole.metric
    if small.function is not None:
        assert whole.function is not None
        assert small.function.samples == whole.function.samples // 10
    else:
        assert (small.data.train, small.data.validation, small.data.test) == (32, 16, 16)
