"""Every cell is a trial of a sweep: trained, measured on the test split, exported, loaded by plain peft, used."""

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.core.trials.trial import TrialRecord, TrialState
from orchestrator.promotion.candidates import Candidates
from orchestrator.promotion.export.peft_folder import export_adapter
from orchestrator.serving.predictor import Predictor
from orchestrator.stores import fetch_assets, read_spec, stored_sweep
from orchestrator.sweep import SweepOptions, run_sweep
from orchestrator.tracking.location import Location, locate
from tests.conftest import copied
from tests.support.cells import ANSWERED, CELLS, METHODS, Cell
from tests.support.sweeps import asked, write_sweep

pytestmark = pytest.mark.extended


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """A finished sweep of some cells."""

    cells: list[Cell]
    records: list[TrialRecord]
    solo: frozenset[int]
    candidates: Candidates
    location: Location


@pytest.fixture(scope="module")
def swept(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[Swept]:
    """Run the sweep of some cells once, inline, with stores of its own."""
    folder = tmp_path_factory.mktemp("cells")
    with ExitStack() as opened:
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        for name in ("LORATORY_DB", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.delenv(name, raising=False)
        patch.setenv("LORATORY_HOME", str(folder / "home"))
        patch.setenv("LORATORY_MLFLOW_DIR", str(folder / "mlflow"))
        copied(empty_store, folder / "mlflow")
        file, cells = write_sweep(folder, request.param, opened)
        spec = read_spec(file)
        fetch_assets(spec, lambda _line: None)
        with _solo_trials() as solo:
            done = run_sweep(spec, SweepOptions(inline=True), (), threading.Event(), lambda _line: None)
        yield Swept(
            cells=cells,
            records=sorted(done.records, key=lambda record: record.number),
            solo=frozenset(solo),
            candidates=stored_sweep(spec.name).candidates(),
            location=locate(spec.tracking),
        )


@contextmanager
def _solo_trials() -> Iterator[set[int]]:
    """Collect the numbers of the trials that a mixed engine sends to the solo engine; it logs each."""
    numbers: set[int] = set()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is trained by the solo engine" in record.msg and isinstance(record.args, tuple):
                numbers.add(int(str(record.args[0])))

    logger, collector = logging.getLogger("orchestrator.training.mixed"), Collector()
    logger.addHandler(collector)
    try:
        yield numbers
    finally:
        logger.removeHandler(collector)


def _group(cell: Cell) -> pytest.MarkDecorator:
    """One process of xdist runs all cells of a sweep."""
    return pytest.mark.xdist_group("-".join(map(str, cell.sweep)))


@pytest.mark.parametrize(
    ("swept", "cell"),
    [pytest.param(cell.sweep, cell, id=cell.id, marks=_group(cell)) for cell in CELLS],
    indirect=["swept"],
    scope="module",  # otherwise the sweep would run again for each cell
)
def test_cell(swept: Swept, cell: Cell, tmp_path: Path) -> None:
    number = swept.cells.index(cell)
    record = swept.records[number]
    assert record.state is TrialState.COMPLETE, record.reason
    assert METHODS[cell.method].params.items() <= ({"method": "lora"} | dict(record.params)).items()
    packed = not cell.alone and number not in swept.solo
    assert packed == (cell.engine == "packed")
    losses = [report.metrics[f"{split}/loss"] for report in record.reports for split in ("train", "val")]
    assert len(losses) == 4
    assert all(map(math.isfinite, [*losses, record.final["test/loss"]]))
    if cell.task in ANSWERED:
        assert all(0 <= record.final[f"test/{metric}"] <= 100 for metric in ("bleu", "chrf"))
    folder = export_adapter(swept.candidates.choose(number), tmp_path / "adapter")  # plain peft loads it as a check
    text, *second = asked(cell)
    [prediction] = Predictor.load(str(folder), swept.location).predict([text], pairs=second or None)
    assert prediction.answer is not None
